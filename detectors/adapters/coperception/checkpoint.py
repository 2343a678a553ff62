"""coperception's checkpoints, distinguished by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from robosac.detectors.adapters.coperception.models import CLASSES
from robosac.detectors.checkpoints import parameters, read_plain
from robosac.types import InputError

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
    advice = "save it again: torch.save({'model_state_dict': model.state_dict()}, ...)"
    held = read_plain(path, advice)
    state = held.get("model_state_dict", held) if isinstance(held, Mapping) else held
    return parameters(state or held, path, "'model_state_dict'")


def check_class(state: Mapping[str, Tensor], word: str, path: Path) -> None:
    """That a checkpoint can be of the class that was asked for; InputError names the one it is of."""
    found = next((name for mark, name in _MARKS.items() if any(k.startswith(mark) for k in state)), _PLAIN)
    if word not in found.partition("(")[2].rstrip(")").replace(",", " ").replace(")", " ").split():
        raise InputError(f"expected a checkpoint of {CLASSES[word]} ({word}), got one of {found}: {str(path)!r}")


def compress_level(state: Mapping[str, Tensor]) -> int:
    """How often the channels of what is sent are halved, as the parameters tell."""
    squeeze = state.get("u_encoder.com_compresser.weight")
    return 0 if squeeze is None else (squeeze.shape[1] // squeeze.shape[0]).bit_length() - 1
