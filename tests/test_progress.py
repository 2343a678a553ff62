"""How far an item is: parts and calls add up, in this process and in others, and the bar says what is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from robosac import progress
from robosac.cli import progress as bars
from robosac.executors import Executor, Processes, Serial
from robosac.types import InputError


def share() -> float:
    return progress.seen()[0]


def test_parts_of_parts_add_up_and_never_go_back() -> None:
    found: list[float] = []
    with progress.alone("a frame"):
        for k in range(2):
            with progress.part(k, 2):
                found.append(share())
                with progress.part(1, 4, "encoding", size=3):
                    found.append(share())
                found.append(share())
        found.append(share())
        with progress.part(0, 2):
            found.append(share())  # done again, as after an error
    assert found == [0.0, 0.125, 0.5, 0.5, 0.625, 1.0, 1.0, 1.0]
    assert progress.seen() == (0.0, "")


def test_calls_that_are_known_to_come_fill_their_part() -> None:
    with progress.alone(), progress.part(0, 2, "frame 1", calls=4):
        found = []
        for _ in range(6):
            progress.call("encoding car-1")
            found.append(share())
        assert found == [0.0, 0.125, 0.25, 0.375, 0.5, 0.5]
        assert progress.seen()[1].startswith("frame 1: encoding car-1 (call 6 of the model, 0.0 s each)")


def test_calls_that_nobody_counted_move_it_and_never_fill_it() -> None:
    with progress.alone(), progress.part(1, 2):
        found = []
        for _ in range(200):
            progress.call("fusing")
            found.append(share())
    assert found[0] == 0.5 and all(a <= b <= 1 for a, b in pairwise(found)) and found[9] < found[19]


def test_each_thing_that_is_made_is_a_part() -> None:
    with progress.alone():
        found = [share() for _ in progress.parts(iter("abc"), 4)]
        assert found == [0.25, 0.5, 0.75]
        assert list(progress.parts("abcdef", 2)) == list("abcdef") and share() == 1.0  # more than was said


def test_without_anybody_who_waits_nothing_happens() -> None:
    progress.units(3)
    with progress.part(0, 2, "x", calls=2):
        progress.call("y")
    assert list(progress.parts("ab", 2)) == ["a", "b"] and progress.seen() == (0.0, "")


def half(item: int) -> tuple[int, tuple[float, str]]:
    """Work that leaves off in its middle, as far as its board can tell."""
    progress.units(4)
    with progress.part(0, 2, f"item {item}"):
        progress.call("a call")
        inside = progress._item.board.shares[item]  # type: ignore[union-attr]
        return item, (inside, progress._item.doing)  # type: ignore[union-attr]


@pytest.mark.parametrize("executor", [Serial(), Processes(jobs=2)], ids=repr)
def test_the_board_is_there_wherever_work_is_done(executor: Executor) -> None:
    items: Sequence[int] = range(3)
    seen = []
    for position, (item, (inside, doing)) in executor.run(half, items):
        assert position == item and inside == 0.0 and doing == f"item {item}"
        seen.append(progress._read.shares[position])  # type: ignore[union-attr]
        assert "item" in progress.seen()[1]
    assert seen == [0.0] * 3  # what has come back counts as done, and not twice
    assert progress.seen() == (0.0, "")


def refused(item: int) -> int:
    if item:
        time.sleep(0.05)
        return item
    raise InputError("expected another item")


def test_work_that_is_refused_ends_the_others_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)  # of the pool's own thread: a traceback to whoever reads
    with pytest.raises(InputError, match="another item"):
        list(Processes(jobs=2).run(refused, range(40)))
    assert not heard


def test_a_board_says_units_and_cuts_long_or_foreign_text() -> None:
    board = progress.Board(2)
    with progress.read(board), progress.item(board, 1):
        progress.units(8)
        with progress.part(1, 2, "\u65e5[/b]" + "x" * 500):
            assert progress.seen()[0] == 4.0
            assert progress.seen()[1].startswith("?[/b]xxx") and len(progress.seen()[1]) < 100


@pytest.mark.parametrize(
    ("done", "first", "after_s", "said"),
    [(0.5, 0, 80, "0:25:20"), (0.0, 0, 80, "?"), (12, 10, 60, "0:04:00"), (20, 10, 60, "0:00:00"), (10, 10, 60, "?")],
)
def test_what_is_left_is_told_from_the_first_frame_on(done: float, first: float, after_s: float, said: str) -> None:
    state = bars._State(done=done, total=20 if first else 10, first=first, begun=100.0)
    assert state.left(100.0 + after_s) == said


def test_without_a_terminal_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bars, "_EVERY_S", 0.01)
    monkeypatch.setattr(bars, "_LINE_AFTER_S", 0.0)
    board = progress.Board(1)
    with bars.progress_bar("frames") as tell, progress.read(board), progress.item(board, 0):
        tell(0, 4)
        with progress.part(1, 2, "frame 3"):
            progress.call("encoding [car]")
            for _ in range(500):
                if "encoding" in (said := capsys.readouterr().err):
                    break
                bars.time.sleep(0.01)
    assert "robosac: frames: 0.5 of 4, about 0:00:0" in said
    assert "left; frame 3: encoding [car] (call 1 of the model)" in said


def test_a_quiet_bar_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with bars.progress_bar("frames", quiet=True) as tell:
        tell(1, 2)
    assert capsys.readouterr() == ("", "")
