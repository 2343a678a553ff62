"""Training in bfloat16 where the machine can, in float32 where it would only imitate."""

from __future__ import annotations

import pytest
import torch

from robosac.detectors.device import mixed

CPU = torch.device("cpu")


def dtype_in(context: torch.autocast) -> torch.dtype:
    with context:
        return torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).dtype


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"architecture": "x86_64", "cpu_name": "bf16", "l1d_cache_size": 32768}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_says_what_it_can(monkeypatch, told, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert dtype_in(mixed(CPU)) is expected
    assert dtype_in(mixed(CPU, wanted=False)) is torch.float32


def test_a_torch_that_does_not_say_is_believed_to_be_quick(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert dtype_in(mixed(CPU)) is torch.bfloat16
