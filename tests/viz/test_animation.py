"""A drive from above as a GIF: one picture a frame, one policy beside another; what cannot be written says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from robosac.cli import main
from robosac.errors import InputError
from robosac.viz.animation import write_animation
from robosac.viz.canvas import new_figure

SEEN = ("--detector", "tests.test_evaluate:Sparse", "--attack", "gps_offset", "--frames", "2", "--fps", "10")


def view(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["view", *args])
    return int(ended.value.code or 0)


def test_a_drive_is_a_gif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "drive.gif"
    assert view("sim:mixed", *SEEN, "--defense", "none,oracle", "--out", str(out)) == 0
    assert "2 frames of scenario 0: none, oracle" in capsys.readouterr().out
    with Image.open(out) as found:
        assert (found.n_frames, found.info["duration"], found.info["loop"]) == (2, 100, 0)
        assert found.width > 1.3 * found.height  # two panels


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--attack", "pgd", "--out", "x.png"), "expected --out FILE.gif or FILE.mp4 with --attack"),
        (("--out", "x.gif", "--attack", "pdg"), "did you mean 'pgd'"),
        (("--out", "x.gif", "--defense", "robsac"), "did you mean 'robosac'"),
        (("--out", "x.avi"), "expected --out to end in .png, .gif or .mp4"),
    ],
)
def test_what_cannot_be_drawn_says_so(
    args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from robosac.viz import viewer

    monkeypatch.setattr(viewer, "open3d", lambda: None)
    assert view("sim:mixed", *args) == 2 and said in capsys.readouterr().err


def test_no_frames_and_no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected frames"):
        write_animation(tmp_path / "x.gif", [], fps=4)
    if shutil.which("ffmpeg") is not None:
        write_animation(tmp_path / "x.mp4", [new_figure(1, 1)] * 2, fps=4)
        assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="expected ffmpeg"):
        write_animation(tmp_path / "y.mp4", [new_figure(1, 1)], fps=4)
    assert not (tmp_path / "y.mp4").exists()
