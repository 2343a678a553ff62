"""Laws of record and replay, on modules small enough to reason about."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robosac.detectors.adapters.replay import (
    Tap,
    chained,
    filling,
    first_argument,
    giving,
    intercepted,
    record,
    replacing,
)
from robosac.types import InputError


class Body(nn.Module):
    """Called with and returning a mapping, like OpenCOOD's stages; also has a method that returns two levels."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        data["wide"] = data["x"] * 3
        return data

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x + 2


class Fusing(nn.Module):
    """Encodes each row alone, calls its head on the rows and on their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.body = Body()
        self.head = nn.Linear(2, 2)
        self.encoded = 0

    def forward(self, x: Tensor) -> Tensor:
        self.encoded += len(x)
        x = self.encoder(x)
        wide = self.body({"x": x})["wide"]
        low, high = self.body.levels(wide)
        single = self.head(low)
        out: Tensor = self.head((single * high).sum(0, keepdim=True))
        return out


SINGLE = Tap("single", "head")
LEVELS = (Tap("low", "body:levels", pick=0), Tap("high", "body:levels", pick=1))
SKIPS = {("encoder", None): first_argument, ("body", 0): filling("wide", torch.zeros(1))}


@pytest.fixture
def model() -> Fusing:
    torch.manual_seed(0)
    return Fusing().eval()


X = torch.arange(6.0).reshape(3, 2)


def attributes(model: nn.Module) -> list[tuple[str, ...]]:
    return [tuple(sorted(vars(m))) for m in model.modules()]


def test_recorded_rows_replayed_for_a_subset_are_the_forward_of_that_subset(model: Fusing) -> None:
    rows = record(model, (*LEVELS, SINGLE), lambda: model(X))
    for subset in ([0], [0, 2], [2, 1, 0]):
        kept = {name: value[subset] for name, value in rows.items()}
        with intercepted(model, {**SKIPS, **giving((*LEVELS, SINGLE), kept)}):
            replayed = model(torch.zeros(len(subset), 2))
        assert torch.equal(replayed, model(X[subset]))


def test_recording_stops_at_the_last_tap(model: Fusing) -> None:
    heads: list[int] = []
    model.head.register_forward_hook(lambda *_: heads.append(1))
    record(model, LEVELS, lambda: model(X))
    assert heads == []
    record(model, (SINGLE,), lambda: model(X))
    assert heads == []  # the tapped call itself ends the forward, before its hooks
    model(X)
    assert heads == [1, 1]


def test_a_model_that_swallows_exceptions_is_stopped_all_the_same(model: Fusing) -> None:
    reached: list[str] = []

    def forward() -> None:
        try:
            model(X)
        except Exception:
            reached.append("handler")
        reached.append("after")

    assert torch.equal(
        record(model, (SINGLE,), forward)["single"], model.head(model.body.levels(model.encoder(X) * 3)[0])
    )
    assert reached == []


def test_calls_are_counted_in_one_forward(model: Fusing) -> None:
    second = record(model, (Tap("out", "head", recorded=1),), lambda: model(X))["out"]
    assert torch.equal(second, model(X))
    assert torch.equal(record(model, (Tap("out", "head", recorded=1),), lambda: model(X))["out"], second)


def test_a_mapping_and_a_tuple_are_answered_as_their_site_would(model: Fusing) -> None:
    wide = Tap("wide", "body", pick="wide")
    taken = record(model, (wide, *LEVELS), lambda: model(X))
    assert torch.equal(taken["wide"] + 1, taken["low"])
    with intercepted(model, giving((wide,), {"wide": 2 * taken["wide"]})):
        doubled = record(model, LEVELS, lambda: model(X))
    assert torch.equal(doubled["low"], 2 * taken["wide"] + 1)


def test_replacing_changes_one_row_as_an_ordinary_hook_would(model: Fusing) -> None:
    malicious = torch.tensor([7.0, -7.0])

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[1] = malicious
        return changed

    for tap, module in ((Tap("e", "encoder"), model.encoder), (Tap("s", "head"), None)):
        with intercepted(model, replacing((tap,), 1, {tap.name: malicious})):
            replaced = model(X)
        if module is not None:
            handle = module.register_forward_hook(hook)
            assert torch.equal(model(X), replaced)
            handle.remove()
        assert not torch.equal(model(X), replaced)
    rows = record(model, LEVELS, lambda: model(X))
    values = {name: value[0] for name, value in rows.items()}
    with intercepted(model, replacing(LEVELS, 0, values)):
        assert torch.equal(model(X), model(X.clone()))  # its own rows put back: nothing changes


def test_two_attackers_are_both_replaced(model: Fusing) -> None:
    tap = Tap("e", "encoder")
    first, second = (replacing((tap,), i, {"e": torch.full((2,), float(i))}) for i in (0, 1))
    both = record(model, (tap,), lambda: model(X), acts=chained(first, second))["e"]
    assert both[:2].tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert torch.equal(both[2], model.encoder(X)[2])


def test_gradients_flow_to_what_was_given(model: Fusing) -> None:
    rows = record(model, (*LEVELS, SINGLE), lambda: model(X))
    leaves = {name: value.detach().requires_grad_() for name, value in rows.items()}
    with intercepted(model, {**SKIPS, **giving((*LEVELS, SINGLE), leaves)}):
        model(X).sum().backward()
    assert leaves["single"].grad is not None and leaves["high"].grad is not None
    assert bool((leaves["single"].grad != 0).any())
    assert leaves["low"].grad is None  # only `single` was made of it, and `single` was given


class BrokenError(RuntimeError):
    pass


@pytest.mark.parametrize("broken", [False, True])
def test_nothing_of_a_patch_is_left(model: Fusing, broken: bool) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokenError

    before = attributes(model)
    own = model.head.forward
    object.__setattr__(model.head, "forward", own)  # somebody else's patch of the instance must survive
    during = attributes(model)
    try:
        with intercepted(
            model, {("head", 0): fail if broken else first_argument, ("body:levels", None): lambda o, x: o(x)}
        ):
            assert attributes(model) != during
            model(X)
    except BrokenError:
        assert broken
    assert attributes(model) == during and vars(model.head)["forward"] is own
    vars(model.head).pop("forward")
    assert attributes(model) == before


def test_a_site_that_does_not_exist_is_named_and_nothing_is_patched(model: Fusing) -> None:
    before = attributes(model)
    for site in ("tail", "body:depths", "body.deeper"):
        with (
            pytest.raises(InputError, match=r"expected .* to have the (module|method)"),
            intercepted(model, {("head", 0): first_argument, (site, 0): first_argument}),
        ):
            pass  # pragma: no cover
    assert attributes(model) == before


def test_a_tap_that_is_never_reached_is_named(model: Fusing) -> None:
    with pytest.raises(InputError, match=r"to reach the taps \['late'\]"):
        record(model, (Tap("late", "head", recorded=2),), lambda: model(X))


def test_the_encoder_is_not_run_in_a_replay(model: Fusing) -> None:
    calls: list[int] = []
    rows = record(model, (*LEVELS, SINGLE), lambda: model(X))
    model.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    model.body.register_forward_pre_hook(lambda *_: calls.append(2))
    original = model.encoder.weight.clone()
    with torch.no_grad():
        model.encoder.weight.fill_(float("nan"))
    with intercepted(model, {**SKIPS, **giving((*LEVELS, SINGLE), rows)}):
        replayed = model(X)
    with torch.no_grad():
        model.encoder.weight.copy_(original)
    assert torch.equal(replayed, model(X))
