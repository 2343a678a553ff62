"""The PCD files of OPV2V and V2XSet: points whose intensity is the red byte of a packed colour.

Open3D writes the colour as a 32-bit field named `rgb` (0x00RRGGBB). Newer versions declare it unsigned (`TYPE U`,
decimal in ascii files), older ones as a float (`TYPE F`) that carries the same 32 bits, in ascii files as a number so
small that it is denormal. Both are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robosac import pcd
from robosac.types import Float64, InputError


def read_pcd(path: Path | str) -> tuple[Float64, Float64 | None]:
    """Positions `(N, 3)` in metres and colours `(N, 3)` in [0, 1] (None where the file has none) of a PCD file.

    Raises:
        InputError: for what is not a PCD file, has no x, y, z, or a colour of other than 4 bytes.
    """
    try:
        columns = pcd.decode(Path(path).read_bytes()).columns
    except (OSError, *pcd.WRONG) as error:
        raise InputError(f"expected a PCD file at {path}, got {type(error).__name__}: {error}") from error
    if missing := [n for n in "xyz" if n not in columns or columns[n].ndim != 1]:
        raise InputError(f"expected fields x y z in {path}, got {' '.join(columns)}: no {missing[0]}")
    xyz = np.stack([columns[n].astype(np.float64) for n in "xyz"], axis=1)
    rgb = columns.get("rgb")
    if rgb is None:
        return xyz, None
    if rgb.ndim != 1 or rgb.itemsize != 4:
        raise InputError(f"expected rgb of 4 bytes in {path}, got {rgb.dtype} of shape {rgb.shape}")
    return xyz, np.stack([pcd.colour(rgb, k) for k in range(3)], axis=1).astype(np.float64) / 255.0
