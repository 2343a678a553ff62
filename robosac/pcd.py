"""Point Cloud Data files: ascii, binary and binary_compressed, fields of any type and count, read as columns.

Bytes in, columns out: readers of data sets and adapters of detectors share it, and what a column means (intensity in
0..255, a colour packed into `rgb`) is theirs to say. Of the libraries on offer pypcd4 reads all three kinds but
believes what the header says of sizes; here the header is checked against the file before anything is allocated, and
only the decompression is a library's (python-neo-lzf).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import lzf
import numpy as np
from numpy.typing import NDArray

from robosac.types import Array, InputError

_MIB: Final = 1 << 20
LIMIT: Final = 128 * _MIB  # of a file, and of what it holds once decompressed
POINTS_LIMIT: Final = 10_000_000  # whoever reads them takes 16 bytes for each, however few the file does
_ASCII_LIMIT: Final = 64 * _MIB  # a digit becomes a number of 8 bytes
_EXACT_LIMIT: Final = 16 * _MIB  # a line becomes a string
_HEADER_LIMIT: Final = 8192
_FIELDS_LIMIT: Final = 64
WRONG: Final = (ValueError, LookupError, TypeError, struct.error)  # what a broken file may raise
_TYPES: Final = {
    "F": {4: "f4", 8: "f8"},
    "U": {n: f"u{n}" for n in (1, 2, 4, 8)},
    "I": {n: f"i{n}" for n in (1, 2, 4, 8)},
}


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Columns by the name of their field: `(N,)`, or `(N, count)` for a field of several values."""

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True)
class _Header:
    dtype: Any  # structured; padding fields ("_") have names of their own
    points: int
    data: str
    start: int  # of the points, in bytes

    @property
    def values(self) -> int:
        """Numbers that make up a point."""
        return sum(int(np.prod(self.dtype[name].shape, dtype=int)) for name in self.dtype.names)


def decode(data: bytes) -> PointCloud:
    """The columns of a PCD file, without padding; native byte order.

    Raises:
        One of `WRONG`: if it is truncated or not what its header says.
    """
    header = _header(data)
    body = memoryview(data)[header.start :]
    needed = header.points * header.dtype.itemsize
    if header.points > POINTS_LIMIT:
        raise ValueError(f"{header.points} points are more than {POINTS_LIMIT}")
    if needed > LIMIT:
        raise ValueError(f"{header.points} points of {header.dtype.itemsize} bytes are more than {LIMIT} bytes")
    if header.data == "ascii":
        columns = _ascii(bytes(body), header)
    elif header.data == "binary":
        if len(body) < needed:
            raise ValueError(f"truncated: {header.points} points take {needed} bytes, {len(body)} are there")
        table = np.frombuffer(body[:needed], header.dtype)
        columns = {name: np.ascontiguousarray(table[name]) for name in header.dtype.names}
    else:
        columns = _compressed(body, header, needed)
    return PointCloud({name: column for name, column in columns.items() if not name.startswith("_")})


def _header(data: bytes) -> _Header:
    entries: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in entries:
        end = data.find(b"\n", start, _HEADER_LIMIT)
        if end < 0:
            raise ValueError(f"no DATA line in the first {_HEADER_LIMIT} bytes")
        words = data[start:end].decode("ascii").split()
        start = end + 1
        if words and not words[0].startswith("#"):
            entries[words[0]] = words[1:]
    fields, types = entries["FIELDS"], entries["TYPE"]
    sizes = [int(n) for n in entries["SIZE"]]
    counts = [int(n) for n in entries.get("COUNT", ["1"] * len(fields))]
    if not 1 <= len(fields) <= _FIELDS_LIMIT or not len(fields) == len(types) == len(sizes) == len(counts):
        raise ValueError(f"{len(fields)} FIELDS, {len(types)} TYPE, {len(sizes)} SIZE, {len(counts)} COUNT")
    if any(not 1 <= n <= 1024 for n in counts):
        raise ValueError(f"COUNT {counts}")
    names = [f"_{i}" if name.startswith("_") else name for i, name in enumerate(fields)]
    kinds = [_TYPES[kind][size] for kind, size in zip(types, sizes, strict=True)]
    dtype = np.dtype([(n, f"<{k}", c) if c > 1 else (n, f"<{k}") for n, k, c in zip(names, kinds, counts, strict=True)])
    shape = [int(entries[key][0]) for key in ("WIDTH", "HEIGHT") if key in entries]
    points = int(entries["POINTS"][0]) if "POINTS" in entries else int(np.prod(shape, dtype=object))
    if points < 0 or (len(shape) == 2 and shape[0] * shape[1] != points):
        raise ValueError(f"{points} POINTS, WIDTH x HEIGHT {shape}")
    if not entries["DATA"] or entries["DATA"][0] not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"DATA {' '.join(entries['DATA'])}")
    return _Header(dtype, points, entries["DATA"][0], start)


def _ascii(body: bytes, header: _Header) -> dict[str, Array]:
    if not header.points:
        return {n: np.zeros((0, *header.dtype[n].shape), header.dtype[n].base) for n in header.dtype.names}
    exact = any(
        header.dtype[name].base.kind in "iu" and header.dtype[name].base.itemsize == 8 for name in header.dtype.names
    )
    if len(body) > (most := _EXACT_LIMIT if exact else _ASCII_LIMIT):
        raise ValueError(f"{len(body)} bytes of text are more than {most}")
    wanted = header.points * header.values
    if 2 * wanted - 1 > len(body):  # a digit and a separator each
        raise ValueError(f"truncated: {wanted} numbers cannot be in {len(body)} bytes")
    if exact:
        return _exact(body, header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's way to say that it stopped early
        numbers = np.fromstring(body.decode("ascii"), dtype=np.float64, sep=" ")
    if len(numbers) != wanted:
        raise ValueError(f"expected {wanted} numbers, got {len(numbers)} before the end or something else")
    table = numbers.reshape(header.points, header.values)
    columns: dict[str, Array] = {}
    at = 0
    for name in header.dtype.names:
        base, shape = header.dtype[name].base, header.dtype[name].shape
        width = int(np.prod(shape, dtype=int))
        part = table[:, at : at + width]
        at += width
        if base.kind in "iu":
            limits = np.iinfo(base)
            if part.size and not ((part >= limits.min) & (part <= limits.max)).all():
                raise ValueError(f"{name} holds numbers that are no {base}")
        with np.errstate(over="ignore", under="ignore"):
            columns[name] = part.astype(base).reshape(header.points, *shape)
    return columns


def _exact(body: bytes, header: _Header) -> dict[str, Array]:
    """64-bit integers do not survive a detour over floating point: each line is read by its own types."""
    lines = body.decode("ascii").split("\n")
    flat = [
        (f"{name}.{k}", header.dtype[name].base)
        for name in header.dtype.names
        for k in range(int(np.prod(header.dtype[name].shape, dtype=int)))
    ]
    table = np.atleast_1d(np.loadtxt([line for line in lines if line.strip()], np.dtype(flat), ndmin=1, comments=None))
    if len(table) != header.points:
        raise ValueError(f"expected {header.points} points, got {len(table)}")
    columns: dict[str, Array] = {}
    for name in header.dtype.names:
        parts = [table[key] for key, _ in flat if key.rpartition(".")[0] == name]
        columns[name] = np.ascontiguousarray(parts[0]) if header.dtype[name].shape == () else np.stack(parts, axis=1)
    return columns


def _compressed(body: memoryview, header: _Header, needed: int) -> dict[str, Array]:
    """One field after the other, compressed as a whole."""
    packed, unpacked = struct.unpack_from("<II", body)
    if unpacked != needed:
        raise ValueError(f"{header.points} points take {needed} bytes, the file says {unpacked}")
    if len(body) < 8 + packed:
        raise ValueError(f"truncated: {packed} compressed bytes, {len(body) - 8} are there")
    raw = (lzf.decompress(bytes(body[8 : 8 + packed]), unpacked) if packed else b"") if unpacked else b""
    if raw is None or len(raw) != unpacked:
        raise ValueError("the compressed points are damaged")
    columns: dict[str, Array] = {}
    at = 0
    for name in header.dtype.names:
        kind = header.dtype[name]
        length = header.points * kind.itemsize
        columns[name] = np.frombuffer(raw[at : at + length], kind.base).reshape(header.points, *kind.shape)
        at += length
    return columns


# ------------------------------------------------------------------------------------------------------------ writing
def encode(columns: Mapping[str, Array]) -> bytes:
    """A binary PCD file of columns `(N,)`, fields in their order.

    Raises:
        InputError: if columns differ in length or are of a type that PCD does not have.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or any(c.ndim != 1 or c.dtype.kind not in "fiu" for c in columns.values()):
        raise InputError(
            f"expected columns of numbers of one length, got { ({n: c.shape for n, c in columns.items()}) }"
        )
    dtype = np.dtype([(name, c.dtype.newbyteorder("<")) for name, c in columns.items()])
    if any(dtype[n].itemsize not in _TYPES[dtype[n].kind.upper()] for n in columns):
        raise InputError(f"expected types that PCD has, got {dtype}")
    table = np.empty(lengths.pop(), dtype)
    for name, column in columns.items():
        table[name] = column
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {' '.join(columns)}\n"
        f"SIZE {' '.join(str(dtype[n].itemsize) for n in columns)}\n"
        f"TYPE {' '.join(dtype[n].kind.upper() for n in columns)}\n"
        f"COUNT {' '.join('1' for _ in columns)}\n"
        f"WIDTH {len(table)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(table)}\nDATA binary\n"
    )
    return header.encode() + table.tobytes()


def colour(rgb: Array, channel: int = 0) -> NDArray[np.uint8]:
    """A byte `(N,)` of colours packed as 0x00RRGGBB: red, green or blue. In a float32 the 32 bits are meant, not the
    number.
    """
    bits = rgb.astype(np.float32, copy=False).view(np.uint32) if rgb.dtype.kind == "f" else rgb.astype(np.uint32)
    return ((bits >> (16 - 8 * channel)) & 0xFF).astype(np.uint8)
