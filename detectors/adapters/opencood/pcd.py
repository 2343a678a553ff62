"""The PCD files of OPV2V and V2XSet: points whose intensity is the red byte of a packed colour.

Open3D writes the colour as a 32-bit field named `rgb` (0x00RRGGBB). Newer versions declare it unsigned (`TYPE U`,
decimal in ascii files), older ones as a float (`TYPE F`) that carries the same 32 bits, in ascii files as a number so
small that it is denormal. Both are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robosac.types import Array, Float64, InputError

_KINDS = {"F": "f", "U": "u", "I": "i"}


def read_pcd(path: Path | str) -> tuple[Float64, Float64 | None]:
    """Positions `(N, 3)` in metres and colours `(N, 3)` in [0, 1] (None where the file has none) of a PCD file.

    Raises:
        InputError: for what is not a PCD file in ascii or uncompressed binary.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"expected a PCD file at {path}, got {error}") from error
    header, body = _split(content, path)
    names, dtype = _record(header, path)
    if not {"x", "y", "z"} <= set(names):
        raise InputError(f"expected fields x y z in {path}, got {' '.join(names)}")
    try:
        count = int(header["POINTS"][0])
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"expected a number of POINTS in the header of {path}") from error
    layout = header["DATA"][0]
    if layout == "binary":
        if count < 0 or len(body) < count * dtype.itemsize:
            raise InputError(f"expected {count} points of {dtype.itemsize} bytes in {path}, got {len(body)} bytes")
        table = np.frombuffer(body, dtype, count)
        xyz = np.stack([table[n].astype(np.float64) for n in "xyz"], axis=1)
        packed = np.ascontiguousarray(table["rgb"]).view(np.uint32) if "rgb" in names else None
    elif layout == "ascii":
        xyz, packed = _ascii(body, names, dtype, count, path)
    else:
        raise InputError(f"expected DATA ascii or binary in {path}, got {layout}; write it again uncompressed")
    return xyz, None if packed is None else _unpack(packed)


def _split(content: bytes, path: Path) -> tuple[dict[str, list[str]], bytes]:
    """The header's entries, and what follows its DATA line."""
    header: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in header:
        end = content.find(b"\n", at)
        if end < 0 or end - at > 4096:
            raise InputError(f"expected a PCD header that ends with a DATA line in {path}")
        words = content[at:end].decode("ascii", "replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
    if not header["DATA"]:
        raise InputError(f"expected DATA ascii or binary in {path}, got nothing")
    return header, content[at:]


def _record(header: dict[str, list[str]], path: Path) -> tuple[list[str], np.dtype[np.void]]:
    """Names of the fields and the layout of one point."""
    names, sizes, kinds = header.get("FIELDS", []), header.get("SIZE", []), header.get("TYPE", [])
    counts = header.get("COUNT", ["1"] * len(names))
    try:
        fields = [
            (f"{name}@{i}" if name == "_" else name, f"<{_KINDS[kind]}{int(size)}", (int(n),) if int(n) != 1 else ())
            for i, (name, size, kind, n) in enumerate(zip(names, sizes, kinds, counts, strict=True))
        ]
        dtype = np.dtype(fields)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"expected FIELDS, SIZE, TYPE and COUNT that agree in {path}: {error}") from error
    if "rgb" in names and dtype["rgb"].itemsize != 4:
        raise InputError(f"expected rgb of 4 bytes in {path}, got {dtype['rgb'].itemsize}")
    return names, dtype


def _ascii(
    body: bytes, names: list[str], dtype: np.dtype[np.void], count: int, path: Path
) -> tuple[Float64, Array | None]:
    """Positions `(N, 3)` and packed colours `(N,)` uint32 of an ascii body."""
    words = body.split()
    if any(dtype[i].shape for i in range(len(names))) or len(words) != count * len(names):
        raise InputError(f"expected {count} lines of {len(names)} numbers in {path}, got {len(words)} numbers")
    try:
        table = np.array(words, dtype=np.bytes_).astype(np.float64).reshape(count, len(names))
    except ValueError as error:
        raise InputError(f"expected numbers in {path}: {error}") from error
    # float32 first: what a reader of 4-byte fields holds
    xyz = np.stack([table[:, names.index(n)].astype(dtype[n]).astype(np.float64) for n in "xyz"], axis=1)
    if "rgb" not in names:
        return xyz, None
    colour = table[:, names.index("rgb")]
    packed = colour.astype(np.float32).view(np.uint32) if dtype["rgb"].kind == "f" else colour.astype(np.uint32)
    return xyz, packed


def _unpack(packed: Array) -> Float64:
    """Colours `(N, 3)` in [0, 1], red first, of `(N,)` words 0x00RRGGBB."""
    return np.stack([(packed >> shift) & 255 for shift in (16, 8, 0)], axis=1).astype(np.float64) / 255.0
