"""One forward of the user's model as it is: what the cached results are compared with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from robosac.detectors.adapters.coperception.bridges import old_names
from robosac.detectors.adapters.coperception.layout import relative
from robosac.detectors.adapters.coperception.models import FEATURES, KEY, TRACES, Model
from robosac.detectors.adapters.coperception.patches import restored
from robosac.types import Array, Float64


def forward(
    model: Model,
    bevs: Sequence[Array],
    poses: Sequence[Float64],
    row: int,
    inference: str,
    tampered: Mapping[int, Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """`loc` and `cls` of the agent in slot `row` in a forward of all slots, the absent ones empty, as in its data set.

    Args:
        bevs: rasters `(256, 256, 13)` of those who take part, in the order of their slots.
        poses: their world poses `(4, 4)`.
        tampered: slot -> arrays that take the place of what its agent sends.
    """
    batch = torch.zeros(model.agents, 1, *bevs[0].shape)
    trans = torch.zeros(1, model.agents, model.agents, 4, 4, dtype=torch.float64)
    for i, (bev, pose) in enumerate(zip(bevs, poses, strict=True)):
        batch[i, 0] = torch.from_numpy(bev)
        for j, other in enumerate(poses):
            trans[0, i, j] = torch.from_numpy(relative(pose, other))
    count = torch.full((1, model.agents), len(bevs), dtype=torch.int64)
    extra: dict[str, Any] = {"training": False, "inference": inference} if model.attends else {}
    with ExitStack() as around:
        for change in (torch.no_grad(), redirect_stdout(io.StringIO()), old_names(), _replacing(model, tampered)):
            around.enter_context(change)
        around.enter_context(_alone(model, len(bevs) == 1))
        at = model.device
        result = model.module(batch.to(at), trans.to(at), count.to(at), batch_size=1, **extra)
    result = result if isinstance(result, dict) else result[0]
    return {"loc": result["loc"][row], "cls": result["cls"][row]}


@contextmanager
def _replacing(model: Model, tampered: Mapping[int, Mapping[str, Tensor]]) -> Iterator[None]:
    """While inside, slots in `tampered` send its arrays; the fusing side of the forward cannot tell."""

    def put(output: Tensor, name: str) -> Tensor:
        output = output.clone()
        for slot, payload in tampered.items():
            output[slot] = payload[name].to(output)
        return output

    def in_layers(_: nn.Module, __: Any, layers: list[Tensor]) -> list[Tensor]:
        return [put(x, FEATURES) if i == model.layer else x for i, x in enumerate(layers)]

    encoder = model.module.u_encoder
    with ExitStack() as undo:

        def hook(register: Callable[[Any], Any], act: Callable[..., Any]) -> None:
            undo.callback(register(act).remove)

        if tampered and model.compressed:
            hook(encoder.com_decompresser.register_forward_pre_hook, lambda _, x: (put(x[0], FEATURES),))
        elif tampered:
            hook(encoder.register_forward_hook, in_layers)
        if tampered and model.attends:
            hook(model.module.key_net.register_forward_hook, lambda _, __, keys: put(keys, KEY))
        yield


@contextmanager
def _alone(model: Model, alone: bool) -> Iterator[None]:
    """While inside, one agent can run on its own, also in the two classes whose forward fails on a single one.

    V2VNet gets an outage of communication, for which it has a case of its own: the map stays as it is. AgentWise
    takes the softmax over one agent, which is 1.
    """
    with restored(model.module, *TRACES, "p_com_outage", "fusion"):
        if alone and model.kind == "v2v":
            model.module.p_com_outage = 1.0
        elif alone and model.kind == "agent":
            model.module.fusion = lambda: model.module.tg_agent
        yield
