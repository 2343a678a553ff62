"""What two rivals learned of a detector: MADE's autoencoder, CP-Guard+'s classifier, and GCP's honest flow.

`robosac train-rivals --detector NAME` writes `DETECTOR.safetensors` and, beside it, a JSON file with
configuration, seed and command. Inference is a few matrix products in numpy: nothing below evaluation loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from robosac.defenses.rivals.frame import Shared
from robosac.files import user_cache
from robosac.types import Array, Float32, InputError

FOLDER: Final = Path(__file__).parent / "weights"
PATCH: Final = 4  # cells a side of what the autoencoder looks at
AUTOENCODER, CLASSIFIER, FLOW = "autoencoder", "classifier", "flow"


@dataclass(frozen=True, eq=False)
class Network:
    """Layers `(in, out)` and `(out,)` with ReLU between them; inputs are standardised first.

    Attributes:
        layers: weights and offsets, in order.
        mean, scale: of the inputs `(in,)`.
    """

    layers: tuple[tuple[Float32, Float32], ...]
    mean: Float32
    scale: Float32

    def standard(self, inputs: Array) -> Float32:
        """Inputs `(N, in)`, standardised and clipped, so that absurd values stay numbers."""
        return np.asarray(np.clip((inputs - self.mean) / self.scale, -1e3, 1e3), np.float32)

    def __call__(self, standard: Float32) -> Float32:
        """Outputs `(N, out)`."""
        values = standard
        for k, (weight, offset) in enumerate(self.layers):
            values = values @ weight + offset
            if k < len(self.layers) - 1:
                values = np.maximum(values, 0.0)
        return values

    def arrays(self, name: str) -> dict[str, Float32]:
        """As they are kept in a file."""
        held = {f"{name}.mean": self.mean, f"{name}.scale": self.scale}
        for k, (weight, offset) in enumerate(self.layers):
            held |= {f"{name}.{k}.weight": weight, f"{name}.{k}.offset": offset}
        return held

    @staticmethod
    def of(arrays: Mapping[str, Array], name: str) -> Network | None:
        """The network of this name among a file's arrays; None where there is none."""
        if f"{name}.mean" not in arrays:
            return None
        n = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in arrays)
        layers = ((arrays[f"{name}.{k}.weight"], arrays[f"{name}.{k}.offset"]) for k in range(n))
        as_floats = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers)
        return Network(as_floats, *(arrays[f"{name}.{part}"].astype(np.float32) for part in ("mean", "scale")))


def path_of(detector: str, folder: Path) -> Path:
    """Where the arrays of a detector are kept, by its own name."""
    return folder / f"{detector.replace(':', '-').replace('/', '-')}.safetensors"


def own_folder() -> Path:
    """Where those are kept that this user trained; shipped ones come before them."""
    return user_cache() / "rivals"


@lru_cache(maxsize=8)
def learned(detector: str) -> Mapping[str, Array]:
    """The arrays kept for a detector; none where nothing was learned of it.

    Raises:
        InputError: the file is not what `robosac train-rivals` writes.
    """
    from safetensors.numpy import load_file

    path = next((p for p in (path_of(detector, f) for f in (FOLDER, own_folder())) if p.is_file()), None)
    if path is None:
        return {}
    try:
        return load_file(path)
    except Exception as error:  # the library's own error says what is wrong with the file
        raise InputError(f"expected {path} to hold safetensors, got {error}; run `robosac train-rivals`") from error


def p_of_loss(honest: Array, loss: float) -> float:
    """The conformal p-value of a loss among honest ones that were kept."""
    return (1 + int((honest >= loss).sum())) / (len(honest) + 1)


def patches(own: Shared, sent: Shared) -> Float32:
    """Residual patches `(N, C * PATCH^2)`, what was sent less the ego's own, where both hold something."""
    if own.features.shape != sent.features.shape:
        return np.zeros((0, own.features.shape[0] * PATCH**2), np.float32)
    both = (own.valid & sent.valid)[None]
    residual = np.where(both, sent.features - own.features, 0.0)
    c, h, w = residual.shape
    rows, cols = h // PATCH, w // PATCH
    cut = residual[:, : rows * PATCH, : cols * PATCH].reshape(c, rows, PATCH, cols, PATCH)
    every = cut.transpose(1, 3, 0, 2, 4).reshape(rows * cols, -1)
    inside = both[0, : rows * PATCH, : cols * PATCH].reshape(rows, PATCH, cols, PATCH).mean(axis=(1, 3)).ravel() > 0.5
    return np.ascontiguousarray(every[inside], np.float32)


def described(own: Shared, sent: Shared) -> Float32 | None:
    """A residual in `4 C` numbers: mean, mean size, spread and largest size a channel; None where nothing overlaps."""
    if own.features.shape != sent.features.shape:
        return None
    both = own.valid & sent.valid
    if not both.any():
        return None
    residual = np.clip((sent.features - own.features)[:, both], -1e3, 1e3)
    size = np.abs(residual)
    parts = (residual.mean(axis=1), size.mean(axis=1), residual.std(axis=1), size.max(axis=1))
    return np.concatenate(parts).astype(np.float32)
