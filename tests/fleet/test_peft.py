"""Our adapters in peft, and peft's in ours. Skipped without the extra."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from robosac.detectors import lora
from tests.detectors.test_lora import Odd, drawn

pytest.importorskip("peft")


def test_peft_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(0)
    model: nn.Module = Odd().eval()
    adapter = {n: u for n, u in drawn(model, 3).items() if n != "grouped"}
    x = torch.randn(2, 4, 8, 8)
    expected = lora.merged(model, adapter)(x)
    lora.save_peft(tmp_path / "ours", adapter, model)
    read = PeftModel.from_pretrained(model, str(tmp_path / "ours"))
    torch.testing.assert_close(read(x), expected)

    made = get_peft_model(Odd().eval(), LoraConfig(r=2, lora_alpha=6, target_modules=["first", "last"]))
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    made.save_pretrained(str(tmp_path / "theirs"))
    base = made.unload()
    torch.testing.assert_close(
        lora.merged(base, lora.load_peft(tmp_path / "theirs", base))(x), made_by(tmp_path, base, x)
    )


def made_by(folder: Path, base: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What peft makes of its own adapter."""
    from peft import PeftModel

    found: torch.Tensor = PeftModel.from_pretrained(base, str(folder / "theirs")).eval()(x)
    return found
