"""Where a detector computes. Several GPUs serve frames in parallel, a process each; nothing is split over them."""

from __future__ import annotations

import multiprocessing
from typing import Any

import torch

from robosac.types import InputError


def usable_device(name: str) -> torch.device:
    """The torch device of a name like `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: if torch knows no such device or this machine has none.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"expected a device like cpu, cuda or cuda:1, got {name!r}") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise InputError(f"expected a CUDA device among {count} that this torch can use, got {name!r}; use cpu")
    elif device.type != "cpu":
        raise InputError(f"expected cpu or cuda, got {name!r}; other devices were never tried")
    return device


def device_of_process(name: str) -> str:
    """The device of this process: `cuda` deals the GPUs out to a pool's workers in turn, all else stays as it is."""
    count = torch.cuda.device_count() if name == "cuda" and torch.cuda.is_available() else 0
    if not count:
        return name
    number = multiprocessing.current_process().name.rpartition("-")[2]  # SpawnProcess-3
    return f"cuda:{int(number) % count if number.isdigit() else 0}"


def mixed(device: torch.device, *, wanted: bool = True) -> torch.autocast:
    """Forward passes in bfloat16 where the device has instructions for it, else in float32: a CPU that only imitates
    them takes many times as long with them as without (`python -m benchmarks.bfloat16`).
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16, as far as torch says."""
    if device.type != "cpu":
        return True
    told: Any = getattr(torch.cpu, "get_capabilities", None)  # older torch does not say
    return told is None or any(can and "bf16" in name for name, can in told().items())
