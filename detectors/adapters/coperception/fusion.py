"""The ego's row of a model's forward: only what the ego needs, from what its teammates sent.

coperception's own forwards fuse and decode every agent for every agent. What reaches the ego's row is less:

- Mean, Max, Sum, Cat, AgentWise: the class's own `fusion` of the ego's map and the teammates' warped ones;
- DiscoNet: the same maps, weighted pixel by pixel by a network that looks at the ego's map beside each of them;
- V2VNet: a recurrent unit that updates the ego's map from the mean of the warped ones, several times over. Each round
  reads what the teammates *sent* and not what they have made of it since, so nobody else's updates are needed;
- When2com: keys of all slots, the ego's query, and values. Without `warp_flag` the values are the maps as sent, in the
  senders' frames. With it they are the ego's *own* map warped to each teammate (the class indexes its values the other
  way round), and of a teammate only its key and its pose count. Empty slots take part with what an empty raster
  gives, as in its own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from robosac.detectors.adapters.coperception.bridges import old_names
from robosac.detectors.adapters.coperception.layout import slots
from robosac.detectors.adapters.coperception.models import FEATURES, KEY, Encoding, Model
from robosac.types import Float64, Id

_ACTIVE = 0.2  # When2com listens to whom it gives more weight than this
_SELF_BONUS = 0.001  # which it adds to every agent's weight for itself before it compares


@dataclass(frozen=True, eq=False)
class Ready:
    """What a teammate sent, made ready for one ego.

    Attributes:
        features: `(C, H, W)`, turned for fusion, in the sender's frame.
        warped: the same in the ego's frame; `features` itself where a model warps nothing.
        key: When2com's `(K,)`.
        ego_T_sender: `(4, 4)` by the pose it claims.
    """

    features: Tensor
    warped: Tensor
    key: Tensor | None
    ego_T_sender: Float64


class EgoForward:
    """One ego's encoding and what comes after it, for any set of teammates."""

    def __init__(self, model: Model, ego: Id, encoding: Encoding, absent: Encoding | None, inference: str) -> None:
        self._model, self._ego, self._encoding, self._inference = model, ego, encoding, inference
        self.own = torch.flip(encoding.layers[model.layer][0], (1,))
        self._absent = absent

    def ready(self, payload: Mapping[str, Tensor], sender_T_ego: Float64, ego_T_sender: Float64) -> Ready:
        """A message's arrays as tensors, made ready; gradients flow through."""
        features = self._model.received(payload[FEATURES])
        warped = features if self._model.attends else self._model.warped(features, sender_T_ego)
        return Ready(features, warped, payload.get(KEY), ego_T_sender)

    def outputs(self, received: Mapping[Id, Ready]) -> dict[str, Tensor]:
        """Raw outputs `loc` and `cls` of the ego, fused with exactly these teammates."""
        if self._model.attends:
            return self._model.heads(self._attended(received))
        warped = [received[i].warped for i in sorted(received)]
        fused = self._fused(warped)
        return self._model.heads(self._model.decoded(self._encoding.layers, fused))

    def alone(self, features: Tensor, empty: Callable[[], Sequence[Tensor]]) -> dict[str, Tensor]:
        """Raw outputs of an agent of whom nothing is known but the `features` that it sent, fused with nobody.

        When2com's is decoded without its attention, whose query no message holds.
        """
        model = self._model
        own = model.received(features)
        layers = [*empty()]
        layers[model.layer :] = model.coarser(torch.flip(own, (1,)), layers[model.layer :])
        weighs_itself = model.attends or model.kind in ("v2v", "disco")  # and, being the only one, in full
        fused = own if weighs_itself else model.fused(own, ())
        return model.heads(model.decoded(layers, fused))

    def _fused(self, warped: Sequence[Tensor]) -> Tensor:
        if self._model.kind == "disco":
            return self._weighted(warped)
        if self._model.kind == "v2v":
            return self._recurrent(warped)
        return self._model.fused(self.own, warped)

    def _weighted(self, warped: Sequence[Tensor]) -> Tensor:
        """DiscoNet: a softmax over agents at every pixel."""
        maps = [self.own, *warped]
        weigh = self._model.module.pixel_weighted_fusion
        weights = [torch.exp(weigh(torch.cat([self.own, m])[None])[0, 0]) for m in maps]
        total = sum(weights)
        fused: Tensor = sum((w / total) * m for w, m in zip(weights, maps, strict=True))  # type: ignore[assignment]
        return fused

    def _recurrent(self, warped: Sequence[Tensor]) -> Tensor:
        """V2VNet. Without teammates the map stays as it is: what its own forward does when communication fails."""
        state = self.own
        if not warped:
            return state
        mean = torch.stack(list(warped)).mean(dim=0)
        with old_names():
            for _ in range(self._model.module.gnn_iter_num):
                state = self._model.module.convgru(torch.cat([state, mean])[None, None], None)[0][0, 0]
        return state

    # ----------------------------------------------------------------------------------------------------- When2com
    def _attended(self, received: Mapping[Id, Ready]) -> Tensor:
        """When2com: fuse by attention, decode, and once more with those alone whom it would listen to."""
        model, layers = self._model, self._encoding.layers
        seats = slots([self._ego, *received], model.agents)
        weights = self._attention(received, seats)
        values = self._values(received, seats)
        x = model.decoded(layers, _weighted_sum(weights, values))
        if self._inference == "softmax":
            return x
        own = functional.one_hot(torch.tensor(seats[self._ego]), model.agents).to(weights)
        weights = weights + _SELF_BONUS * own
        if self._inference == "activated":
            chosen = weights * (weights > _ACTIVE).to(weights)
        else:
            chosen = functional.one_hot(weights.argmax(), model.agents).to(weights)
        # Its forward has overwritten the finest layer with the first result by now; the coarser ones are the ego's.
        return model.decoded([x, *layers[1:]], _weighted_sum(chosen, values))

    def _attention(self, received: Mapping[Id, Ready], seats: Mapping[Id, int]) -> Tensor:
        """The ego's weights `(A,)` for all slots."""
        assert self._absent is not None and self._encoding.query is not None
        module, agents = self._model.module, self._model.agents
        keys = [self._absent.payload[KEY]] * agents
        for name, seat in seats.items():
            key = self._encoding.payload[KEY] if name == self._ego else received[name].key
            assert key is not None
            keys[seat] = key
        query = self._encoding.query.expand(1, agents, -1)  # as many rows as in a forward: same sums, same bits
        nothing = (
            query.new_zeros(1, agents, agents, 1, 1, 1) if self._model.warps else query.new_zeros(1, agents, 1, 1, 1)
        )
        attention: Tensor = module.attention_net(query, torch.stack(keys)[None], nothing, sparse=module.sparse)[1]
        return attention[0, :, seats[self._ego]]

    def _values(self, received: Mapping[Id, Ready], seats: Mapping[Id, int]) -> Tensor:
        """What the weights are for, `(A, C, H, W)`."""
        assert self._absent is not None
        model = self._model
        if model.warps:
            values = [torch.zeros_like(self.own)] * model.agents
            for name, other in received.items():
                values[seats[name]] = model.warped(self.own, other.ego_T_sender)
        else:
            values = [model.received(self._absent.payload[FEATURES])] * model.agents
            for name, other in received.items():
                values[seats[name]] = other.features
        values[seats[self._ego]] = self.own
        return torch.stack(values)


def _weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """`(C, H, W)` of weights `(A,)` and values `(A, C, H, W)`."""
    return (weights[:, None, None, None] * values).sum(dim=0)
