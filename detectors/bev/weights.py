"""Weights on disk: safetensors, with the configuration in its metadata and the training record in a JSON beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from robosac.detectors.bev.config import DecodeConfig, ModelConfig
from robosac.detectors.bev.network import Network
from robosac.detectors.checkpoints import load_all
from robosac.files import write_whole
from robosac.types import InputError


class Header(BaseModel):
    """What a weights file says about itself: enough to rebuild the network and to read boxes from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: ModelConfig
    decode: DecodeConfig


def save(path: Path, net: Network, header: Header, record: dict[str, Any]) -> Path:
    """Write `path` (.safetensors) and the record beside it (.json, with the hash of the weights), each of them
    whole or not at all. Returns `path`.
    """
    state = {name: tensor.detach().contiguous().cpu() for name, tensor in net.state_dict().items()}
    write_whole(path, to_bytes(state, metadata={"header": header.model_dump_json()}))
    record = {"header": header.model_dump(), "sha256": sha256(path), **record}
    write_whole(path.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    return path


def load_network(path: Path) -> tuple[Network, Header]:
    """Read a weights file.

    Raises:
        InputError: if there is none, it is not one of ours, its tensors are not finite, or do not fit the network
            it names.
    """
    if not path.is_file():
        raise InputError(f"expected a weights file at {path}, got none; train one with `robosac train --config ...`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        header = Header.model_validate_json(metadata.get("header", ""))
    except SafetensorError as error:
        raise InputError(f"expected {path} to be a safetensors file: {error}") from error
    except ValidationError as error:
        raise InputError(f"expected {path} to carry a robosac header in its metadata: {error}") from error
    net = Network(header.model)
    load_all(net, state, path, "the network is the one that its header names")
    return net, header


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
