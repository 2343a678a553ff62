"""Pictures one after another as a GIF, or as an MP4 where ffmpeg is installed."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from robosac.errors import InputError
from robosac.files import write_whole

SUFFIXES: Final = (".gif", ".mp4")
_COLOURS: Final = 128  # of a GIF's palette


def check_animation(path: Path) -> None:
    """InputError unless the name says what can be written here."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"expected a file that ends in {' or '.join(SUFFIXES)}, got {path}")
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise InputError(f"expected ffmpeg for {path}, which is not installed; install it, or write a .gif")


def write_animation(path: Path, figures: Iterable[Figure], *, fps: float, dpi: int = 80) -> int:
    """Write the figures, all of one size, as they come; how many there were. The file appears whole or not at all.

    Raises:
        InputError: there are none, or this kind of file cannot be written here.
    """
    check_animation(path)
    pngs = [_png(figure, dpi) for figure in figures]
    if not pngs:
        raise InputError(f"expected frames for {path}, got none")
    write_whole(path, _gif(pngs, fps) if path.suffix.lower() == ".gif" else _mp4(pngs, fps))
    return len(pngs)


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def _gif(pngs: list[bytes], fps: float) -> bytes:
    """One palette for all, that of the first, so that colours do not flicker."""
    from PIL import Image

    first, *others = (Image.open(io.BytesIO(png)).convert("RGB") for png in pngs)
    palette = first.quantize(_COLOURS)
    frames = [palette, *(image.quantize(palette=palette, dither=Image.Dither.NONE) for image in others)]
    made = io.BytesIO()
    frames[0].save(made, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
    return made.getvalue()


def _mp4(pngs: list[bytes], fps: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        for k, png in enumerate(pngs):
            (Path(folder) / f"{k:05d}.png").write_bytes(png)
        even = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white,format=yuv420p"  # what every player plays
        asked = ["ffmpeg", "-v", "error", "-framerate", str(fps), "-i", "%05d.png", "-vf", even, "made.mp4"]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"expected ffmpeg to write an MP4, got {' '.join(done.stderr.split())[-200:]}")
        return (Path(folder) / "made.mp4").read_bytes()
