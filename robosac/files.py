"""Files are written whole or not at all, and where they go is asked before the work, not after it."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from robosac.errors import InputError

CACHE: Final = "ROBOSAC_CACHE"  # the environment variable that names another folder


def user_cache() -> Path:
    """This user's folder for what can be made again, like thresholds of one's own; it need not exist."""
    if named := os.environ.get(CACHE):
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "robosac"


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and move it there in one step, so that no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_writable(folder: Path) -> None:
    """Make sure that files can be written into `folder`, by writing one. Nothing stays behind, new folders neither.

    Raises:
        InputError: if the folder cannot be made, is a file, or takes no files.
    """
    made: list[Path] = []
    try:
        made = [p for p in (folder, *folder.parents) if not p.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder, prefix=".robosac.").close()
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror or type(error).__name__
        raise InputError(
            f"expected a folder that can be written to, got {folder} ({why}); name another, or make this one writable"
        ) from error
    finally:
        for path in made:
            with suppress(OSError):  # never made, or no longer empty
                path.rmdir()


def check_writable_file(path: Path) -> None:
    """As `check_writable`, for one file: its folder takes files, and it is not itself a folder.

    Raises:
        InputError: it is a folder, or nothing can be written there.
    """
    check_writable(path.parent)
    if path.is_dir():
        raise InputError(f"expected a file to write, got the folder {path}; name a file in it")
