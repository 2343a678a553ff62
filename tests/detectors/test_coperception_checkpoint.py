from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robosac.detectors.adapters.coperception import CoperceptionDetector, checkpoint
from robosac.detectors.checkpoints import load_all
from robosac.types import InputError


def saved(folder: Path, content: Any) -> Path:
    file = folder / "epoch_49.pth"
    torch.save(content, file)
    return file


class Opener:
    """An object that would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


def test_parameters_are_read_with_and_without_the_prefix(tmp_path: Path) -> None:
    weights = {"module.u_encoder.w": torch.ones(2), "module.b": torch.zeros(1)}
    written = {"epoch": 49, "model_state_dict": weights, "optimizer_state_dict": {"lr": 0.1}, "loss": 1.5}
    assert set(checkpoint.read(saved(tmp_path, written))) == {"u_encoder.w", "b"}
    assert set(checkpoint.read(saved(tmp_path, {"u_encoder.w": torch.ones(2)}))) == {"u_encoder.w"}


UNREADABLE = [
    ({"model_state_dict": Opener()}, "tensors and plain data only.*save it again"),
    ({"epoch": 3}, r"to hold 'model_state_dict', got \['epoch'\]"),
    ({"model_state_dict": {}}, "to hold 'model_state_dict'"),
    ([1, 2], "got list"),
]


@pytest.mark.parametrize(("content", "why"), UNREADABLE)
def test_what_is_no_checkpoint_says_so(content: Any, why: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(InputError, match=why):
        checkpoint.read(saved(tmp_path, content))
    assert capsys.readouterr().out == ""


def test_a_missing_or_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a checkpoint .*got no file .*nowhere.pth"):
        CoperceptionDetector.from_checkpoint(tmp_path / "nowhere.pth")
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="could not read it"):
        checkpoint.read(broken)


WORDS = [
    (
        "lowerbound",
        r"got FaFNet \(lowerbound\), which sees one scan.*robosac.detectors.LateFusion.*robosac.detectors.EarlyFusion",
    ),
    ("teacher", "got TeacherNet"),
    ("attfuse", "expected a model among mean, max, sum, cat, agent, v2v, disco, when2com, got 'attfuse'"),
]


@pytest.mark.parametrize(("word", "why"), WORDS)
def test_words_that_name_no_fusion_model_are_refused(word: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        CoperceptionDetector.from_checkpoint(tmp_path / "nowhere.pth", model=word)


MARKS = [
    ("pixel_weighted_fusion.conv1_1.weight", "disco"),
    ("_modulation_layer_3._conv1_1.weight", "cat"),
    ("agent_weighted_fusion.conv1_1.weight", "agent"),
    ("convgru.weight_ih_l0", "v2v"),
    ("attention_net.linear.weight", "when2com"),
    ("u_encoder.conv1_1.weight", "mean"),
    ("u_encoder.conv1_1.weight", "sum"),
]


@pytest.mark.parametrize(("parameter", "word"), MARKS)
def test_a_checkpoint_is_of_the_class_that_its_parameters_tell(parameter: str, word: str) -> None:
    state = {parameter: torch.ones(1)}
    checkpoint.check_class(state, word, Path("it.pth"))
    other = "max" if word not in ("mean", "sum") else "disco"
    with pytest.raises(InputError, match=rf"expected a checkpoint of .* \({other}\), got one of .*{word}.*it.pth"):
        checkpoint.check_class(state, other, Path("it.pth"))


@pytest.mark.parametrize(("word", "wanted"), [("agentwise", "agent"), ("v2vnet", "v2v"), ("disconet", "disco")])
def test_other_words_for_the_same_class(word: str, wanted: str, tmp_path: Path) -> None:
    file = saved(tmp_path, {"model_state_dict": {"module.u_encoder.w": torch.ones(1)}})
    with pytest.raises(InputError, match=rf"expected a checkpoint of .* \({wanted}\), got one of MeanFusion"):
        CoperceptionDetector.from_checkpoint(file, model=word)


def test_a_checkpoint_of_a_lone_model_fits_none() -> None:
    with pytest.raises(InputError, match="FaFNet or TeacherNet, which fuse nothing"):
        checkpoint.check_class({"stpn.conv1_1.weight": torch.ones(1)}, "mean", Path("it.pth"))


@pytest.mark.parametrize(("channels", "level"), [(128, 1), (64, 2), (1, 8)])
def test_the_compression_is_read_from_the_parameters(channels: int, level: int) -> None:
    state = {"u_encoder.com_compresser.weight": torch.ones(channels, 256, 1, 1)}
    assert checkpoint.compress_level(state) == level and checkpoint.compress_level({}) == 0


def test_mismatches_are_named_and_nothing_is_loaded() -> None:
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    state: dict[str, Tensor] = {"weight": torch.ones(2, 4), "extra": torch.ones(1)}
    named = r"1 missing \(bias\); 1 unexpected \(extra\); 1 of another shape \(weight \(2, 4\), model has \(2, 3\)\)"
    with pytest.raises(InputError, match=named):
        load_all(model, state, Path("it.pth"), "")
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("content", [b"", b"\0", b"no checkpoint", b"PK\x03\x04", b"\x80\x02."])
def test_whatever_the_bytes_they_are_told_in_a_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "e.pth").write_bytes(content)
    with pytest.raises(
        InputError, match=r"to hold tensors and plain data only, could not read it: \w.+; save it again"
    ):
        checkpoint.read(tmp_path / "e.pth")
