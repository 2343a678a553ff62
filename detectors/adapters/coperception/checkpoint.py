"""coperception's checkpoints: read as data, distinguished by what they hold, loaded completely or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from robosac.detectors.adapters.coperception.models import CLASSES
from robosac.detectors.torch_files import why_unread
from robosac.types import InputError

_PREFIX: Final = "module."  # nn.DataParallel's, in which coperception's tools train and save
_MARKS: Final = {  # a parameter that only this class has
    "pixel_weighted_fusion.": "DiscoNet (disco)",
    "_modulation_layer_3.": "CatFusion (cat)",
    "agent_weighted_fusion.": "AgentWiseWeightedFusion (agent)",
    "convgru.": "V2VNet (v2v)",
    "attention_net.": "When2com (when2com)",
    "stpn.": "FaFNet or TeacherNet, which fuse nothing (wrap them for late or early fusion)",
}
_PLAIN: Final = "MeanFusion, MaxFusion or SumFusion (mean, max, sum), which share their parameters"


def read(path: Path) -> dict[str, Tensor]:
    """Parameters by name, without DataParallel's prefix, of a checkpoint of coperception's tools.

    Raises:
        InputError: if the file is missing, holds more than data, or holds no parameters.
    """
    if not path.is_file():
        raise InputError(f"expected a checkpoint (epoch_N.pth of coperception's training), got no file {str(path)!r}")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key, end-of-file and runtime errors on what is none
        raise InputError(
            f"expected {str(path)!r} to hold tensors and plain data only, could not read it: "
            f"{why_unread(error)}; save it again: torch.save({{'model_state_dict': model.state_dict()}}, ...)"
        ) from error
    state = held.get("model_state_dict", held) if isinstance(held, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        found = sorted(map(str, held))[:8] if isinstance(held, Mapping) else type(held).__name__
        raise InputError(f"expected {str(path)!r} to hold 'model_state_dict', got {found}")
    prefixed = all(str(name).startswith(_PREFIX) for name in state)
    return {str(name)[len(_PREFIX) if prefixed else 0 :]: value for name, value in state.items()}


def check_class(state: Mapping[str, Tensor], word: str, path: Path) -> None:
    """That a checkpoint can be of the class that was asked for; InputError names the one it is of."""
    found = next((name for mark, name in _MARKS.items() if any(k.startswith(mark) for k in state)), _PLAIN)
    if word not in found.partition("(")[2].rstrip(")").replace(",", " ").replace(")", " ").split():
        raise InputError(f"expected a checkpoint of {CLASSES[word]} ({word}), got one of {found}: {str(path)!r}")


def compress_level(state: Mapping[str, Tensor]) -> int:
    """How often the channels of what is sent are halved, as the parameters tell."""
    squeeze = state.get("u_encoder.com_compresser.weight")
    return 0 if squeeze is None else (squeeze.shape[1] // squeeze.shape[0]).bit_length() - 1


def load_into(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load all parameters, strictly.

    Raises:
        InputError: naming what is missing, unexpected or of another shape.
    """
    own: Mapping[str, Any] = model.state_dict()
    problems = {
        "missing": sorted(set(own) - set(state)),
        "unexpected": sorted(set(state) - set(own)),
        "of another shape": [
            f"{k} {tuple(state[k].shape)}, model has {tuple(own[k].shape)}"
            for k in own
            if k in state and state[k].shape != own[k].shape
        ],
    }
    if any(problems.values()):
        differences = "; ".join(f"{len(names)} {what}: {_few(names)}" for what, names in problems.items() if names)
        raise InputError(
            f"expected {str(path)!r} to fit {type(model).__name__}, it does not: {differences}; "
            "give the layer, agents and options it was trained with"
        )
    model.load_state_dict(dict(state), strict=True)


def _few(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
