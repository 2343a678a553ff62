"""The board: a frozen protocol, rows that cannot stand too high, entries that grow, pages that say what they must."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.readme import PAGES, with_board
from robosac.cli import main
from robosac.evaluation.ap import FP, TP, FrameMatches, found_objects
from robosac.evaluation.metrics import FrameRecord
from robosac.experiments.board.cells import CellResult, Figure, SceneCheck, against
from robosac.experiments.board.check import compared
from robosac.experiments.board.cost import cost_of, in_words
from robosac.experiments.board.entry import BoardEntry, Link, merged, read_entries, read_entry, write_entry
from robosac.experiments.board.page import board_page
from robosac.experiments.board.play import Slice
from robosac.experiments.board.protocol import OBLIGATORY, Protocol, read_protocol
from robosac.experiments.board.table import coverage, ranking, rows, to_markdown
from robosac.registry.attacks import described
from robosac.types import Detections, InputError, Truth
from robosac.viz.board import render

HASHES = {
    ("board", 2): "bb79d4a975f1"
}  # another hash under an old version: raise the version, figures are not comparable
TINY: dict[str, Any] = {
    "name": "tiny", "version": 1, "dataset": "sim:mixed", "split": "val", "seed": 0, "frames": 1, "frame_step": 5,
    "detectors": ["tests.test_evaluate:Sparse"], "attackers": [0, 1], "scenes": 2, "adaptive_scenes": 1,
    "ignorant": ["gps_offset", "drop"], "adaptive": ["frame_up"], "reference": list(OBLIGATORY), "tolerance": 0.02,
    "defenses": ["paper"],
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ the protocol
def test_the_shipped_protocol_is_frozen_and_wide_enough() -> None:
    p = read_protocol()
    assert HASHES[p.name, p.version] == p.hash
    assert len(p.ignorant) + len(p.adaptive) >= 12 and len(p.detectors) >= 2
    assert p.attackers == (0, 1, 2, 3) and p.scenes >= 60 and p.adaptive_scenes >= 20
    assert {"the defence"} <= {knows for a in p.adaptive for knows in described(a)["knows"]}
    assert not any("the defence" in described(a)["knows"] for a in p.ignorant)


def changed(**other: Any) -> Protocol:
    held = {k: tuple(v) if isinstance(v, list) else v for k, v in {**TINY, **other}.items()}
    return Protocol.model_validate(held)


@pytest.mark.parametrize("other", [{"seed": 1}, {"frames": 2}, {"ignorant": ["drop"]}, {"scenes": 3}, {"version": 2}])
def test_what_decides_a_figure_changes_the_hash(other: Mapping[str, Any]) -> None:
    assert changed(**other).hash != changed().hash


def test_who_is_on_the_board_does_not_change_the_hash() -> None:
    assert changed(defenses=["robosac"]).hash == changed().hash


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"reference": ["none"]}, "got none for ego-only, oracle, all-honest"),
    ({"adaptive": ["drop"]}, r"\['drop'\] in both"),
    ({"scenes": 0}, "scenes: Input should be greater"),
    ({"colour": "red"}, "colour: Extra inputs"),
]


@pytest.mark.parametrize(("other", "says"), WRONG)
def test_what_is_wrong_with_a_protocol_is_said(other: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({**TINY, **other}))
    with pytest.raises(InputError, match=says):
        read_protocol(tmp_path / "p.yaml")


def test_a_slice_names_what_there_is() -> None:
    p = changed()
    with pytest.raises(InputError, match="expected attacks of the protocol, gps_offset, drop, frame_up; got pgd"):
        Slice(protocol=p, attacks=("pgd",))
    with pytest.raises(InputError, match=r"expected a defence, one of .*, or MODULE:NAME; got 'nobody'"):
        Slice(protocol=p, defenses=("nobody",))
    assert Slice(protocol=p, defenses=("paper",)).rows == (*OBLIGATORY, "paper")
    adaptive = Slice(protocol=p, scenes=9).grid("adaptive", "mean")
    assert adaptive is not None
    assert (adaptive.scenes, adaptive.defense, adaptive.attackers) == (1, ("none", "paper"), (1,))
    alone = Slice(protocol=p, attacks=("frame_up",)).grid("ignorant", "mean")
    assert alone is not None and alone.attackers == (0,)  # where nobody attacks is played whatever is asked for


# ------------------------------------------------------------------------------------------------------- the ranking
def cell(attack: str, ap: float, *, m: int = 1, scenes: int = 60, digest: str = "a") -> CellResult:
    figure = Figure(value=ap, low=ap - 0.05, high=ap + 0.05)
    checks = {f"s{k}": SceneCheck(objects=3, ap50=ap, found=2, false=1, digest=digest) for k in range(2)}
    return CellResult(
        attack=attack, attackers=m, kind="ignorant", scenes=scenes, frames=2 * scenes, ap50=figure, ap70=figure,
        ego_lost=figure, fp_added=figure, ms=20.0, cpu_s=120.0, checks=checks,
    )  # fmt: skip


def entry(name: str, *cells: CellResult, **more: Any) -> BoardEntry:
    held = {"protocol": {"name": "board", "version": 1, "hash": "h"}, "detector": "mean", "identity": {"weights": "w"}}
    return BoardEntry(defense=name, cells=cells, **{**held, **more})


def nobody(ap: float, **more: Any) -> CellResult:
    return cell("", ap, m=0, **more)


def test_rows_are_ranked_by_the_worst_attack_and_not_by_the_mean() -> None:
    steady = entry("steady", nobody(0.8), cell("pgd", 0.7), cell("cw", 0.7))
    brittle = entry("brittle", nobody(0.9), cell("pgd", 0.9), cell("cw", 0.5))
    assert [(r.entry.defense, r.rank) for r in ranking([brittle, steady])] == [("steady", 1), ("brittle", 2)]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([nobody(0.9), cell("pgd", 0.9)], "1 cells not played"),
        ([nobody(0.9), cell("pgd", 0.9), cell("cw", 0.9, scenes=10)], "1 on fewer scenes"),
        (
            [
                nobody(0.9),
                cell("pgd", 0.9),
                CellResult(attack="cw", attackers=1, kind="ignorant", scenes=0, frames=0, skipped="no"),
            ],
            "1 skipped",
        ),
    ],
)
def test_who_leaves_out_what_breaks_it_is_not_ranked(cells: list[CellResult], why: str) -> None:
    whole = entry("whole", nobody(0.8), cell("pgd", 0.6), cell("cw", 0.5))
    found = {r.entry.defense: (r.rank, r.why) for r in ranking([entry("partial", *cells), whole])}
    assert found == {"partial": (None, why), "whole": (1, "")}


def test_references_and_other_weights_take_no_place() -> None:
    a = entry("a", nobody(0.8), cell("pgd", 0.6))
    oracle = entry("oracle", nobody(0.9), cell("pgd", 0.9), reference=True)
    retrained = entry("a", nobody(0.8), cell("pgd", 0.7), identity={"weights": "v"})
    assert sorted((r.entry.defense, r.rank or 0) for r in ranking([a, oracle, retrained])) == [
        ("a", 1), ("a", 1), ("oracle", 0),
    ]  # fmt: skip


BOARD = [
    entry("ego-only", nobody(0.5), reference=True),
    entry("none", nobody(0.9), cell("pgd", 0.1), reference=True),
    entry("oracle", nobody(0.9), cell("pgd", 0.85), reference=True),
    entry("all-honest", nobody(0.92), reference=True),
    entry("good", nobody(0.88), cell("pgd", 0.7)),
    entry("<b>bad", nobody(0.9), cell("pgd", 0.4), notes=("a note",), broken_by=(Link(text="us", url="https://x.y"),)),
]


def test_a_row_says_what_it_costs_and_what_breaks_it() -> None:
    found = {r.title: r for r in rows(BOARD)}
    good, bad = found["good"], found["<b>bad"]
    assert good.cells["cost"].sort == pytest.approx(0.04)
    assert (good.cells["worst"].text, good.cells["worst"].beside) == ("0.700", "0.65–0.75")
    assert (good.broken_by, good.cells["rank"].text) == ([], "1")
    assert bad.broken_by == [("us", "https://x.y"), ("pgd by 1 (0.400)", "#attack-pgd")]
    assert list(found)[:2] == ["all-honest", "oracle"]


def test_a_part_of_the_protocol_says_so() -> None:
    p = read_protocol()
    held = {"name": p.name, "version": p.version, "hash": p.hash}
    part = entry("a", nobody(0.9, scenes=2), cell("pgd", 0.8, scenes=2), protocol=held)
    (line,) = coverage([part])
    assert f"on mean, 2 of {len(p.cells())} cells were played, on 2 of 60 scenes" in line
    assert line in to_markdown([part]) and line in render(board_page([part], Path("results")))
    whole = [cell(a, 0.9, m=m, scenes=p.scenes_of(p.kind_of(a))) for a, m in p.cells()]
    assert coverage([entry("a", *whole, protocol=held)]) == []


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.asks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.links += [v for k, v in attrs if k == "href" and v]
        self.asks += [v for k, v in attrs if k in ("src", "srcset", "action") and v]
        if tag == "link":
            self.asks.append(str(held))


def test_the_page_asks_no_network_and_escapes_what_it_shows() -> None:
    page = render(board_page(BOARD, Path("results")))
    reader = Reader()
    reader.feed(page)
    assert reader.asks == [] and "url(" not in page and "@import" not in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in page  # what is shown cannot run
    assert "<b>bad" not in page and "&lt;b&gt;bad" in page
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert {"attack-pgd", "words", "group"} <= set(reader.ids)
    assert page.count('class="entry') == len(BOARD) == page.count('class="detail"')
    assert len(set(reader.ids)) == len(reader.ids)


def test_markdown_has_a_line_for_each_row_and_says_every_column() -> None:
    text = to_markdown(BOARD)
    assert re.search(r"\| good \| 1 \| 0\.700 \(0\.65–0\.75\) \| pgd by 1 \|", text)
    assert text.count("\n| ") == len(BOARD) + 1
    assert "- benign cost: AP@0.5 of fusing everybody" in text


# ------------------------------------------------------------------------------------------------ entries that grow
def test_a_smaller_slice_takes_nothing_from_an_entry(tmp_path: Path) -> None:
    order = [("", 0), ("pgd", 1), ("cw", 1)]
    old = entry("a", nobody(0.8), cell("pgd", 0.6), notes=("said",))
    new = entry("a", nobody(0.7, scenes=10), cell("cw", 0.5))
    found = merged(new, old, order)
    assert [(c.attack, c.scenes) for c in found.cells] == [("", 60), ("pgd", 60), ("cw", 60)]
    assert found.notes == ("said",)
    other = merged(new.model_copy(update={"settings": {"budget": 3}}), old, order)
    assert [(c.attack, c.scenes) for c in other.cells] == [("", 10), ("cw", 60)] and other.notes == ("said",)
    path = write_entry(tmp_path, found)
    written = path.read_bytes()
    assert write_entry(tmp_path, read_entry(path)).read_bytes() == written  # rounded once, read and written alike
    assert [e.file_name for e in read_entries(tmp_path)] == ["mean_a.json"]
    assert entry("my.module:Make").file_name != entry("my.module/Make").file_name


def test_what_is_no_entry_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected entries in .* got none"):
        read_entries(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x.json to be an entry of the board; protocol: Field required"):
        read_entries(tmp_path)
    (tmp_path / "x.json").write_text(entry("a").model_copy(update={"format": 9}).model_dump_json())
    with pytest.raises(InputError, match=r"format 1 in .* got 9"):
        read_entries(tmp_path)


def test_cells_are_compared_over_the_scenes_that_both_have() -> None:
    told, same, other = cell("pgd", 0.8), cell("pgd", 0.8), cell("pgd", 0.7, digest="b")
    found = compared(told, same)
    assert found is not None and found.within(1e-9) and found.same == 2
    apart = compared(told, other)
    assert apart is not None and not apart.within(0.02) and apart.within(0.11) and apart.same == 0
    assert compared(told, cell("pgd", 0.8).model_copy(update={"checks": {}})) is None


def record(found: tuple[int, ...], false: int, *, scenario: str) -> FrameRecord:
    outcome = np.array([[TP] * len(found) + [FP] * false], np.int8)
    matches = FrameMatches((0.5,), np.full(outcome.shape[1], 0.9, np.float32), outcome, 4)
    return FrameRecord(
        scenario=scenario, index=0, attackers=frozenset(), teammates=frozenset(), used=frozenset(), accused=frozenset(),
        decodes=1, trials=0, ms={}, fell_back=False, rejected={}, matches=matches, found=found,
    )  # fmt: skip


def test_what_the_ego_loses_is_counted_by_object() -> None:
    """Alone the ego finds 0, 1 and 2, and 3; fused it finds as many, but no longer 0; five boxes more find nothing."""
    ego = [record((0, 1, 2), 1, scenario="a"), record((3,), 0, scenario="b")]
    fused = [record((1, 2, 3), 6, scenario="a"), record((3,), 0, scenario="b")]
    lost, added = against(fused, {(r.scenario, r.index): r for r in ego}, 0)
    assert lost is not None and added is not None
    assert (lost.value, added.value) == (0.25, 2.5)
    assert against(fused, {}, 0) == (None, None)


def test_found_objects_are_named_by_their_place_in_the_truth() -> None:
    boxes = np.zeros((4, 7), np.float32)
    boxes[:, 0], boxes[:, 3:6] = (0, 10, 90, 20), (4, 2, 1.5)  # the third is out of range, the second hardly seen
    truth = Truth(boxes, np.arange(4), {"ego": np.array([9, 1, 9, 9])}, {"ego": np.eye(4)})
    found = Detections(boxes[[3, 1, 0, 2]] + np.float32(0.1) * np.eye(7, dtype=np.float32)[0], np.ones(4, np.float32))
    assert found_objects(found, truth, 50.0) == (0, 3)
    assert found_objects(Detections.empty(), truth, 50.0) == ()


def test_the_cost_is_that_of_the_cells_and_grows_with_scenes() -> None:
    p = changed(defenses=[])
    hash_of = {"name": p.name, "version": p.version, "hash": p.hash}
    known = entry("none", cell("drop", 0.5, scenes=60), protocol=hash_of, detector=p.detectors[0])
    found = cost_of([known], p)
    # four rows under three ignorant cells of two scenes, all as the known; of `none` under an adaptive attack nothing
    assert found.core_s == {"ignorant": pytest.approx(4 * 3 * 2 * 2.0)}
    assert (found.known, found.taken, found.unknown) == (1, 11, {"adaptive": 1})
    assert "adaptive: not measured" in in_words(found)
    hard = entry("none", cell("frame_up", 0.5, scenes=10), protocol=hash_of, detector=p.detectors[0])
    both = cost_of([known, hard.model_copy(update={"cells": (*known.cells, *hard.cells)})], p)
    assert both.core_s["adaptive"] == pytest.approx(12.0) and not both.unknown
    assert found.hours[64] == pytest.approx(sum(found.core_s.values()) / 3600 / 64)
    assert cost_of([known], p, 1).core_s["ignorant"] == pytest.approx(4 * 3 * 2.0)
    with pytest.raises(InputError, match="play a small slice"):
        cost_of([entry("none", cell("drop", 0.5))], p)


# ------------------------------------------------------------------------------------------------ the whole, tiny
def command(*args: str, code: int = 0) -> None:
    try:
        main(["leaderboard", *args])
    except SystemExit as stop:
        assert (stop.code or 0) == code
    else:
        assert code == 0


def test_play_check_add_and_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol, results, out = tmp_path / "tiny.yaml", tmp_path / "results", str(tmp_path / "kept")
    protocol.write_text(yaml.safe_dump(TINY))
    ways = ("--protocol", str(protocol), "--out", out, "--executor", "serial")
    command("run", "--scenes", "1", "--attack", "drop", "--results", str(results), *ways)
    first = {e.defense: e for e in read_entries(results)}
    assert set(first) == {*OBLIGATORY, "paper"}
    assert [(c.key, c.scenes) for c in first["paper"].cells] == [(("", 0), 1), (("drop", 1), 1)]
    assert first["paper"].protocol["hash"] == read_protocol(protocol).hash

    command("run", "--results", str(results), *ways)
    found = {e.defense: e for e in read_entries(results)}
    paper = {c.key: c for c in found["paper"].cells}
    assert {k: c.scenes for k, c in paper.items() if not c.skipped} == {
        ("", 0): 2,
        ("gps_offset", 1): 2,
        ("drop", 1): 2,
    }
    assert paper["frame_up", 1].skipped  # this detector has no gradients
    ego = found["ego-only"].benign
    assert ego is not None and ego.fp_added is not None
    assert ego.fp_added.value == 0.0  # against itself

    file = str(results / found["paper"].file_name)
    again = ("--protocol", str(protocol), "--out", str(tmp_path / "again"), "--executor", "serial", "--attack", "drop")
    capsys.readouterr()
    command("check", file, "--scenes", "1", *again)
    assert "drop by 1" in (said := capsys.readouterr().out) and "1 of 1 scenes bit by bit: agrees" in said
    held = json.loads(Path(file).read_text())
    for one in held["cells"]:
        one["checks"] = {k: {**c, "ap50": 0.999} for k, c in one["checks"].items()}
    Path(file).write_text(json.dumps(held))
    command("check", file, "--scenes", "1", *again, code=1)
    said = capsys.readouterr()
    assert "DIFFERS" in said.out and "another processor" not in said.err
    for one in held["cells"]:
        one["checks"] = {k: {**c, "digest": "0" * 8} for k, c in one["checks"].items()}
    Path(file).write_text(json.dumps(held))
    command("check", file, "--scenes", "1", *again, code=1)
    assert "another processor" not in capsys.readouterr().err  # it was made on this one
    held["machine"]["vectors"] = "of old"
    Path(file).write_text(json.dumps(held))
    command("check", file, "--scenes", "1", *again, code=1)
    assert "another processor (there of old, here " in capsys.readouterr().err

    own = "tests.experiments.test_board:Nobody"
    command("add", own, "--scenes", "1", "--attack", "drop", "--results", str(results), *ways)
    mine = {e.defense: e for e in read_entries(results)}[own]
    assert mine.benign is not None and ego.checks.keys() >= mine.benign.checks.keys()
    assert all(
        c.digest == ego.checks[name].digest for name, c in mine.benign.checks.items()
    )  # fuses nobody, as it says
    assert mine.settings["kind"] == own and "add tests.experiments" in mine.command
    command("--results", str(results), "--out", str(tmp_path / "page"))
    assert "| paper |" in capsys.readouterr().out
    assert own in (tmp_path / "page" / "leaderboard.html").read_text()


class Nobody:
    """A defence of one's own: it fuses nobody."""

    def start(self, scenario: str, calibration: Any, rng: Any) -> Any:
        from robosac.defenses import EgoOnly

        return EgoOnly().start(scenario, calibration, rng)


def test_add_takes_module_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    command("add", "robosac", code=2)
    assert "expected MODULE:NAME, got 'robosac'" in capsys.readouterr().err
    command("add", "tests.experiments.test_board:TINY", code=2)
    assert "to be a defence" in capsys.readouterr().err


RESULTS = Path(__file__).parents[2] / "results"
OF_THE_BOARD = [RESULTS / f"mean_{name}.json" for name in ("robosac", "made", "pasac")]


@pytest.mark.parametrize("path", OF_THE_BOARD, ids=lambda p: p.stem)
def test_entries_of_the_board_hold(path: Path, tmp_path: Path) -> None:
    known = {c.key for c in read_entry(path).played}
    assert {("", 0), ("noise", 1)} <= known
    slice_of = ("--scenes", "1", "--attack", "noise", "--attackers", "0,1", "--jobs", "1")
    command("check", str(path), *slice_of, "--out", str(tmp_path))


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_in_pages_are_those_of_the_entries(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    assert (
        with_board(text, Path(__file__).parents[2] / "results", PAGES[page]) == text
    )  # else: python -m benchmarks.readme --board
    assert text.count("| robosac |") >= 1
