"""Files of a data set are data: read whole, bounded, and never executed.

Whatever a file holds, these functions return plain values (numbers, strings, lists, dictionaries, arrays) or raise
`DataError`, which names the file. Sizes are looked at before anything is allocated; YAML builds no objects
(`robosac.plain_yaml`); a pickle, and a pickled `.npy`, is read by a machine of our own that knows plain values
only (`robosac.data.pickled`). A path that leads out of the data set is refused, symbolic links included: name the
folder that they lead to as the data set.
"""

from __future__ import annotations

import io
import json
import math
import stat
import struct
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from robosac import pcd, plain_yaml
from robosac.data.pickled import unpickled
from robosac.data.pickled_calls import array_of
from robosac.data.recording import DataError

MIB: Final = 1 << 20
FILE_LIMIT: Final = 256 * MIB
TEXT_LIMIT: Final = 32 * MIB
_JSON_LISTS: Final = 2_000_000
_WRONG: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,  # numpy reads its headers as Python literals, old ones by their tokens
    yaml.YAMLError,
)


# -------------------------------------------------------------------------------------------------------- paths, bytes
def inside(root: Path, relative: str | Path) -> Path:
    """The path of a file of a data set that is named relative to its root.

    Raises:
        DataError: if the name is absolute or leads out of the root.
    """
    name = str(relative)
    if "\0" in name or Path(name).is_absolute() or name.startswith(("\\", "~")) or ".." in Path(name).parts:
        raise DataError(root, f"expected a file name within the data set, got {name!r}")
    return _within(root / name, root)


def _within(path: Path, root: Path) -> Path:
    try:
        real, home = path.resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a loop of symbolic links, before Python 3.13; ValueError: a name that no file system can hold
        raise DataError(path, f"cannot be followed ({error})") from None
    if not real.is_relative_to(home):
        raise DataError(path, f"leads out of the data set {root}, to {real}; name that folder as the data set instead")
    return path


def read_bytes(path: Path, root: Path, *, limit: int = FILE_LIMIT) -> bytes:
    """A whole file of at most `limit` bytes.

    Raises:
        DataError: if it is missing, no ordinary file, too large, cannot be read, or is outside of `root`.
    """
    _within(path, root)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise DataError(path, "expected an ordinary file")
        if about.st_size > limit:
            raise DataError(path, f"expected at most {limit} bytes, got {about.st_size}")
        with path.open("rb") as file:
            data = file.read(about.st_size + 1)  # what is asked for is allocated
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or type(error).__name__})") from None
    if len(data) != about.st_size:
        raise DataError(path, f"expected {about.st_size} bytes, got {len(data)}: the file changes while it is read")
    return data


# What lies beside a data set may be anything: folders of others (`lost+found`), links to nowhere, names that no text
# is. To look whether something is there never fails.
def is_file(path: Path) -> bool:
    """Whether it is a file that can be looked at."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_dir(path: Path) -> bool:
    """Whether it is a folder that can be looked at."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def names(folder: Path) -> list[str] | None:
    """Names of all that lies in a folder, as text in order; None where it cannot be listed."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except (OSError, ValueError):
        return None


def folders(folder: Path) -> list[Path]:
    """Folders in a folder, by name as text; hidden ones are none of a data set's."""
    return [folder / n for n in names(folder) or () if not n.startswith(".") and is_dir(folder / n)]


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong inside because of what a file holds becomes a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except _WRONG as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(path, f"is no valid {what} ({type(error).__name__}{': ' if said else ''}{said})") from None


# ------------------------------------------------------------------------------------------------------- JSON and YAML
def read_json(path: Path, root: Path, *, limit: int = TEXT_LIMIT) -> Any:
    """A JSON file; NaN and infinity, which JSON does not have, are refused."""
    data = read_bytes(path, root, limit=limit)
    lists = _JSON_LISTS * max(1, limit // TEXT_LIMIT)
    with naming(path, "JSON file"):
        if data.count(b"[") + data.count(b"{") > lists:
            raise ValueError(f"may hold more than {lists} lists and objects")
        return json.loads(data.decode(), parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is no JSON")
    return value


def read_yaml(path: Path, root: Path, only: plain_yaml.Only = None) -> Any:
    """A YAML file of plain values; tags that would build objects are refused, but for what is under other keys than
    `only` (see `plain_yaml.parse`).
    """
    data = read_bytes(path, root, limit=plain_yaml.SIZE_LIMIT)
    with naming(path, "YAML file of plain values"):
        return plain_yaml.parse(data, only)


# ------------------------------------------------------------------------------------------------ PCD, npy and pickle
def read_pcd(path: Path, root: Path) -> pcd.PointCloud:
    """The columns of a PCD file."""
    data = read_bytes(path, root, limit=pcd.LIMIT)
    with naming(path, "PCD file"):
        return pcd.decode(data)


def read_npy(path: Path, root: Path) -> Any:
    """An array of a `.npy` file. One of objects, as `np.save(path, dict)` makes it, gives the plain value it holds.

    The value of a 0-dimensional array of objects is the object; of any other, nested lists of them.
    """
    data = read_bytes(path, root)
    with naming(path, ".npy file"):
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, on literals in a broken header: the error says enough
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=10_000)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream, max_header_size=10_000)
            else:
                raise ValueError(f"version {version} is not read")
        rest = data[stream.tell() :]
        if dtype.hasobject:
            array = unpickled(rest)
            return array.item() if isinstance(array, np.ndarray) and array.shape == () else _listed(array)
        return array_of(rest, dtype, shape, fortran=fortran)


def read_pickle(path: Path, root: Path) -> Any:
    """A pickle of numbers, strings, bytes, lists, tuples, sets, dictionaries, and numpy arrays of these."""
    data = read_bytes(path, root)
    with naming(path, "pickle of plain values"):
        return unpickled(data)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else value
