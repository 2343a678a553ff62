"""One run at a time in a folder or towards a file, on network file systems too.

The lock is a file that is created only where none is, by a hard link (or `O_EXCL`, atomic on NFS since version 3). It
names the run's host and process, and the run touches it every few seconds. A lock is left over, and taken away, where
its process is gone from this host, or where nobody has touched it for a minute by the file server's own clock. A run
that slept for longer loses its lock; two runs at once do some work twice and write the same.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from robosac.errors import InputError

TOUCH_S: Final = 10.0
DEAD_S: Final = 60.0  # six touches missed
_held: set[Path] = set()  # by this process


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else works in the folder meanwhile; who is killed lets go.

    Raises:
        InputError: another run is at work there; says whose, and what to do.
    """
    with _alone(folder / ".lock", f"{folder} to be free", "name another folder"):
        yield


@contextmanager
def alone_towards(path: Path) -> Iterator[None]:
    """As `alone_in`, for one file: others may work towards other files beside it."""
    with _alone(path.with_name(f".{path.name}.lock"), f"nobody else to be making {path}", "name another file"):
        yield


@contextmanager
def _alone(path: Path, wanted: str, otherwise: str) -> Iterator[None]:
    mine = {"host": socket.gethostname(), "pid": os.getpid()}
    _take(path, mine, wanted, otherwise)
    _held.add(path)
    stop = Event()
    beat = Thread(target=_touch, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        _held.discard(path)
        if _holder(path) == mine:
            path.unlink(missing_ok=True)


def _take(path: Path, mine: dict[str, Any], wanted: str, otherwise: str) -> None:
    for _ in range(3):
        with suppress(FileExistsError):
            _create(path, json.dumps(mine))
            return
        holder = _holder(path)
        own = holder == mine and path not in _held  # a container's first process has the same number each time
        if not (own or _left_over(path, holder)):
            who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
            raise InputError(
                f"expected {wanted}, another run is at work there ({who}); wait, or {otherwise}; "
                f"if that run is gone, remove {path}"
            )
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):  # somebody else took it away first
            path.rename(aside)
            aside.unlink()
    raise InputError(f"expected {wanted}, other runs are starting there; try again")


def _create(path: Path, text: str) -> None:
    """Make the lock with its content at once: one that is found empty is somebody's for a minute."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".lock.") as whole:
        whole.write(text)
        whole.flush()
        Path(whole.name).chmod(0o644)  # others are to read whose it is
        try:
            os.link(whole.name, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with path.open("x") as file:
                file.write(text)


def _left_over(path: Path, holder: dict[str, Any]) -> bool:
    here = holder.get("host") == socket.gethostname()
    if here and os.name == "posix" and not _alive(int(holder.get("pid", 0))):
        return True
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".lock.") as now:
            return Path(now.name).stat().st_mtime - path.stat().st_mtime > DEAD_S
    except FileNotFoundError:
        return True  # it was let go meanwhile


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def _holder(path: Path) -> dict[str, Any]:
    """Host and process of a lock; empty where there is none, or where it is being written."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("pid", 0), int) else {}


def _touch(path: Path, stop: Event) -> None:
    while not stop.wait(TOUCH_S):
        with suppress(OSError):
            os.utime(path)
