"""`--checkpoint`: how it joins a detector's name, and what is said where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from robosac.cli import main
from robosac.cli.calibrate import Calibrate
from robosac.cli.evaluate import of_checkpoint
from robosac.cli.options import with_checkpoint
from robosac.experiments.settings import Grid
from robosac.registry.detectors import checkpoint_in
from robosac.types import InputError

FILE = Path("other/net_epoch7.pth")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "latest.pth").touch()
    (tmp_path / "a@b").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "joined"),
    [
        ("folder", f"opencood:folder@{FILE}"),
        ("opencood:folder", f"opencood:folder@{FILE}"),
        ("opencood:a@b", f"opencood:a@b@{FILE}"),
        ("coperception:mean", f"coperception:mean:{FILE}"),
    ],
)
def test_it_joins_the_name(name: str, joined: str) -> None:
    assert with_checkpoint(name, FILE) == joined
    assert with_checkpoint(name, None) == name
    if joined.startswith("opencood:"):
        assert checkpoint_in(joined.removeprefix("opencood:")) == (Path(name.removeprefix("opencood:")), str(FILE))
    grid = of_checkpoint(Grid(detector=(name,)), FILE)
    assert grid.detector == (joined,) and of_checkpoint(grid, None) == grid
    assert joined in Calibrate(detector=name, checkpoint=FILE).command


def test_folders_and_checkpoints_whose_names_hold_the_mark() -> None:
    assert checkpoint_in("folder@x@y.pth") == (Path("folder"), "x@y.pth")
    assert checkpoint_in("a@b@x@y.pth") == (Path("a@b"), "x@y.pth")
    assert checkpoint_in("nowhere@x.pth") == (Path("nowhere"), "x.pth")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mean", "leave --checkpoint out"),
        ("mine.safetensors", "leave --checkpoint out"),
        ("late:mean", "leave --checkpoint out"),
        ("own.module:detector", "leave --checkpoint out"),
        ("folder/latest.pth", "which names its weights"),
        ("opencood:folder@latest.pth", "which names its weights"),
        ("coperception", "coperception:mean, beside --checkpoint"),
        ("coperception:mean:epoch_1.pth", "coperception:mean, beside --checkpoint"),
    ],
)
def test_where_it_makes_no_sense(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=said):
        with_checkpoint(name, FILE)
    for command in (["check-detector", name], ["calibrate", "--detector", name], ["evaluate", "--detector", name]):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--checkpoint", str(FILE)])
        assert stop.value.code == 2 and "beside --checkpoint" in capsys.readouterr().err


def test_several_detectors_have_no_one_checkpoint() -> None:
    with pytest.raises(InputError, match="one --detector beside --checkpoint, got folder, mean"):
        of_checkpoint(Grid(detector=("folder", "mean")), FILE)
