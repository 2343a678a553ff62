"""Checkpoints: read as data, and loaded completely or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from robosac.types import InputError

_PREFIX: Final = "module."  # nn.DataParallel's, in which many tools train and save
_FEW: Final = 3


def read_plain(path: Path, advice: str) -> Any:
    """What a file of `torch.save` holds, on the CPU; nothing in it is executed.

    Torch's own advice on files that hold more than tensors is to load them all the same, which executes what they hold.

    Raises:
        InputError: torch cannot read it, or it holds more than tensors and plain data. Ends in `advice`.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key, end-of-file and runtime errors on what is no checkpoint
        said = (str(error).splitlines() or [""])[0].strip()
        why = f"{type(error).__name__}{': ' if said else ''}{said}"
        if said.startswith("Weights only load failed"):
            why = "it holds more than tensors and plain data, which is not executed"
        raise InputError(
            f"expected {str(path)!r} to hold tensors and plain data only, could not read it: {why}; {advice}"
        ) from error


def parameters(held: Any, path: Path, what: str) -> dict[str, Tensor]:
    """Parameters by name, without the prefix of DataParallel where all have it.

    Raises:
        InputError: `held` is not a mapping of names to tensors; `what` says what the file at `path` should hold.
    """
    if not isinstance(held, Mapping) or not held or not all(isinstance(v, Tensor) for v in held.values()):
        found = sorted(map(str, held))[:8] if isinstance(held, Mapping) else type(held).__name__
        raise InputError(f"expected {str(path)!r} to hold {what}, got {found}")
    prefixed = all(str(name).startswith(_PREFIX) for name in held)
    return {str(name).removeprefix(_PREFIX) if prefixed else str(name): value for name, value in held.items()}


def load_all(model: nn.Module, state: Mapping[str, Tensor], path: Path, advice: str) -> None:
    """Load every tensor of `state`, or none.

    Raises:
        InputError: naming what is not finite, missing, unexpected or of another shape; ends in `advice`. NaN in weights
            makes NaN of every result, and comparisons with it say "nothing there": a figure of nothing.
    """
    own: Mapping[str, Tensor] = model.state_dict()
    if broken := [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]:
        raise InputError(f"expected finite weights in {str(path)!r}, got NaN or inf in {', '.join(broken[:_FEW])}")
    both = [k for k in own if k in state and state[k].shape != own[k].shape]
    problems = {
        "missing": [k for k in own if k not in state],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [f"{k} {tuple(state[k].shape)}, model has {tuple(own[k].shape)}" for k in both],
    }
    found = [
        f"{len(names)} {what} ({', '.join(names[:_FEW])}{', ...' if len(names) > _FEW else ''})"
        for what, names in problems.items()
        if names
    ]
    if found:
        raise InputError(f"expected {str(path)!r} to fit {type(model).__name__}, got {'; '.join(found)}; {advice}")
    model.load_state_dict(dict(state), strict=True)


def calibration_named(given: str | Path | None, inside: str) -> Path | None:
    """The file of thresholds of agreement that was named, or `inside` the folder that was. None: nothing was.

    Raises:
        InputError: there is nothing of that name. A folder that does not hold the file yet will do.
    """
    if given is None:
        return None
    path = Path(given).expanduser()
    if path.is_dir():
        return path / inside
    if not path.is_file():
        raise InputError(
            f"expected calibration to be a file that robosac calibrate wrote, or the folder that it lies in, got "
            f"{str(path)!r}, where there is nothing; make one (robosac calibrate --out FILE) or leave it out"
        )
    return path
