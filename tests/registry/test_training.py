"""What a detector is trained on: scenarios stay whole, and recorded frames are what their truth says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robosac.boxes import invert_pose, transform_boxes
from robosac.cli.simulate import Simulate, write
from robosac.detectors.bev.config import ModelConfig
from robosac.registry import training
from robosac.registry.training import Parts, Piece, divide, recorded_set
from robosac.types import InputError
from tests.test_arrows import ARROWS, SOURCES

GRID = ModelConfig().raster


def parts(*names: str, ticks: int = 10, val: tuple[str, ...] = (), test: tuple[str, ...] = (), seed: int = 0) -> Parts:
    return divide(names, lambda name: ticks, val=val, test=test, seed=seed)


def test_one_scenario_of_five_is_for_validation_and_none_stands_twice() -> None:
    names = [f"s{k}" for k in range(11)]
    for seed in range(5):
        made = parts(*names, test=("s3",), seed=seed)
        assert len(made.validation) == 2 and made.test == (Piece("s3"),)
        every = [p.scenario for p in (*made.train, *made.validation, *made.test)]
        assert sorted(every) == sorted(names)
    assert parts(*names, seed=1) == parts(*names, seed=1) != parts(*names, seed=2)


def test_named_scenarios_are_taken_and_a_single_one_is_cut_in_time() -> None:
    assert parts("a", "b", val=("b",)) == Parts((Piece("a"),), (Piece("b"),), ())
    assert parts("a", ticks=14) == Parts((Piece("a", 0, 12),), (Piece("a", 12),), ())
    assert str(parts("a", "b", ticks=3, test=("b",))) == "train on a[0..1]; validate on a[2..]; report on b"


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(InputError, match="expected scenarios among a, b, got 'c'"):
        parts("a", "b", val=("c",))
    with pytest.raises(InputError, match="under one of --val and --test, got 'a' under both"):
        parts("a", "b", val=("a",), test=("a",))
    with pytest.raises(InputError, match="expected a scenario to train on"):
        parts("a", "b", val=("a",), test=("b",))
    with pytest.raises(InputError, match="expected two ticks or more"):
        parts("a", ticks=1)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("opv2v")
    write(Simulate(out=out, split="val", scenes=2, frames=2, vehicles=2, roadside=False, beams=16, columns=256, jobs=1))
    return out / "val"


def test_recorded_frames_are_those_of_the_data_set(recording: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    made = recorded_set(f"opv2v:{recording}", GRID, comm_range_m=70, jobs=1, cache=tmp_path, log=lines.append)
    assert [len(made.train), len(made.validation), len(made.test)] == [1, 1, 0]
    assert lines[0].startswith(f"opv2v:{recording}: train on ")
    frames = made.train[0]
    assert len(frames) == 4 and all(f.egos == [0] for f in frames)  # two ticks, each agent once
    first, other = frames[0], frames[2]  # the same tick, seen by one and by the other
    assert np.array_equal(first.bits[0], other.bits[1]) and np.array_equal(first.hits.shape, (2, len(first.boxes)))
    other_T_first = other.poses[1] @ invert_pose(first.poses[0])
    moved = transform_boxes(other_T_first, first.boxes)
    apart = np.linalg.norm(moved[:, None, :2] - other.boxes[None, :, :2], axis=2).min(axis=1)
    assert np.sort(apart)[:-1].max() < 0.05 and apart.max() > 1  # all but the other's own body
    again = recorded_set(f"opv2v:{recording}", GRID, comm_range_m=70, jobs=1, cache=tmp_path, log=lines.append)
    assert again.content == made.content and np.array_equal(again.train[0][0].bits, first.bits)
    assert not any(line.startswith("read") for line in lines[-1:])


def test_another_region_is_read_anew(recording: Path, tmp_path: Path) -> None:
    wide = ModelConfig(half_x_m=76.8).raster
    both = [
        recorded_set(f"opv2v:{recording}", grid, comm_range_m=70, jobs=1, cache=tmp_path, log=lambda line: None)
        for grid in (GRID, wide)
    ]
    assert [made.train[0][0].bits.shape[1:] for made in both] == [(256, 256), (256, 512)]
    assert both[0].content != both[1].content


def test_another_recording_is_for_validation_or_to_report_on(tmp_path: Path) -> None:
    """OPV2V's splits are folders of their own: all that --data names is trained on then."""
    for split in ("train", "val", "test"):
        few = Simulate(out=tmp_path, split=split, scenes=1, frames=2, vehicles=2, roadside=False, beams=8, columns=64)
        write(few)
    names = {split: f"opv2v:{tmp_path / split}" for split in ("train", "val", "test")}
    how = {"comm_range_m": 70, "jobs": 1, "cache": tmp_path / "c"}
    lines: list[str] = []
    made = recorded_set(names["train"], GRID, val=(names["val"],), test=(names["test"],), log=lines.append, **how)
    assert [len(part[0]) for part in (made.train, made.validation, made.test)] == [4, 4, 4]
    assert f"validate on {names['val']} " in lines[0] and f"report on {names['test']} " in lines[0]
    only = recorded_set(names["train"], GRID, test=(names["test"],), log=lines.append, **how)
    assert [len(part[0]) for part in (only.train, only.validation, only.test)] == [2, 2, 4]  # cut in time
    assert np.array_equal(only.test[0][0].bits, made.test[0][0].bits)
    for wrong, words in (
        ({"test": (names["train"],)}, "expected other scenarios under --val and --test than are trained on"),
        ({"val": (names["test"],), "test": (names["test"],)}, "expected a scenario under one of --val and --test"),
        ({"test": (f"dair:{tmp_path / 'test'}",)}, "of kind dair"),
    ):
        with pytest.raises(InputError, match=words):
            recorded_set(names["train"], GRID, log=lines.append, **wrong, **how)


def test_a_changed_reader_is_asked_again(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cached was made by the readers as they were: each of their sources decides its name."""
    name = f"opv2v:{recording}"

    def made() -> str:
        lines: list[str] = []
        content = recorded_set(name, GRID, comm_range_m=70, jobs=1, cache=tmp_path / "c", log=lines.append).content
        return f"{content} {any(line.startswith('read') for line in lines)}"

    own = training.reader_sources()
    first, again = made(), made()
    assert first.endswith("True") and again == first.replace("True", "False")
    for changed in (own[0], own[-1]):
        copy = tmp_path / changed.name
        copy.write_bytes(changed.read_bytes() + b"# another\n")
        monkeypatch.setattr(training, "reader_sources", lambda c=changed, n=copy: [n if p == c else p for p in own])
        assert made().endswith("True")


def test_every_source_of_the_readers_counts() -> None:
    """All that `robosac.data` imports of this package, but what decides nothing of what is read."""
    todo, found = [m for m in SOURCES if m.startswith("robosac.data.")], set[str]()
    while todo:
        if (module := todo.pop()) not in found and module in SOURCES and not SOURCES[module][1]:
            found.add(module)
            todo += [arrow.target for arrow in ARROWS[module]]
    aside = {f"robosac.{m}" for m in ("errors", "files", "capabilities", "randomness", "score_maps")}
    named = {p.resolve() for p in training.reader_sources()}
    assert {m for m in found - aside if SOURCES[m][0].resolve() not in named} == set()
    assert {"robosac.data.dair", "robosac.data.points", "robosac.boxes", "robosac.pcd"} <= found
