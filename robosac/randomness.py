"""The one source of random numbers: generators by key, so that no order of frames and no process matters."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from robosac.errors import InputError


def keyed_rng(*key: Hashable) -> np.random.Generator:
    """A generator keyed by (seed, scenario, frame, role, ...): the same key gives the same stream in any order,
    process or machine. Key parts are int or str; anything else is an InputError.
    """
    words: list[int] = []
    for part in key:
        if isinstance(part, (bool, int, np.integer)):
            value = int(part)
            if value < 0:
                raise InputError(f"expected an integer key part to be >= 0, got {value}")
            words += [1, value & 0xFFFFFFFF, value >> 32]
        elif isinstance(part, str):
            data = part.encode(errors="surrogatepass")  # names of folders need not be UTF-8
            padded = data + b"\0" * (-len(data) % 4)
            words += [2, len(data), *np.frombuffer(padded, dtype="<u4").tolist()]
        else:
            raise InputError(f"expected key parts to be int or str, got {type(part).__name__}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
