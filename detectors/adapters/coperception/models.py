"""The models of coperception that can be wrapped: which they are, how one is built, what one is asked for.

`Model` is the one place that touches the user's model. It calls the parts that the class makes public (encoder, warp,
fusion, decoder, heads), one agent at a time, and leaves no trace: what has to be set on the instance is set back.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from robosac.detectors.adapters.coperception.bridges import old_names
from robosac.detectors.adapters.coperception.patches import as_in_a_batch, restored
from robosac.fingerprint import code_files
from robosac.types import Array, InputError

# word of its command line (--com) -> class
CLASSES: Final = {
    "mean": "MeanFusion",
    "max": "MaxFusion",
    "sum": "SumFusion",
    "cat": "CatFusion",
    "agent": "AgentWiseWeightedFusion",
    "v2v": "V2VNet",
    "disco": "DiscoNet",
    "when2com": "When2com",
}
ALIASES: Final = {"agentwise": "agent", "v2vnet": "v2v", "disconet": "disco"}
LONE: Final = {  # models that fuse nothing
    "lowerbound": "FaFNet",
    "upperbound": "FaFNet",
    "teacher": "TeacherNet",
}
_BASE: Final = "FusionBase"  # a user's own subclass of it is wrapped like MeanFusion
INFERENCES: Final = ("softmax", "argmax_test", "activated")
CHANNELS: Final = (32, 64, 128, 256, 512)  # of the encoder's five layers, each half as wide and high as the one before
_PLAIN: Final = 3  # from this layer on an encoder's layer is two convolutions of the one before, and nothing else
FEATURES: Final = "features"
KEY: Final = "key"
TRACES: Final = ("tg_agent", "neighbor_feat_list", "num_agent")  # what a forward leaves on the instance


def kind_of(model: nn.Module) -> str:
    """The word of a model's class, `fusion` for a subclass of `FusionBase` of the user's own.

    Raises:
        InputError: if it is none that can be wrapped.
    """
    names = [c.__name__ for c in type(model).__mro__]
    for name in names:
        if name in LONE.values():
            raise InputError(no_fusion(name))
        found = next((word for word, known in CLASSES.items() if known == name), None)
        if found is not None:
            return found
    if _BASE in names:
        return "fusion"
    raise InputError(f"expected a model of coperception ({', '.join(CLASSES.values())}), got {type(model).__name__}")


def no_fusion(name: str) -> str:
    return (
        f"expected a model that fuses teammates' features, got {name}, which sees one scan and fuses nothing; "
        "wrap it for late fusion (robosac.detectors.LateFusion) or early fusion (robosac.detectors.EarlyFusion)"
    )


def build(
    det: Any, config: Any, word: str, *, agents: int, layer: int, compress_level: int, options: Mapping[str, Any]
) -> nn.Module:
    """A model by its word, as coperception's test tool builds it: `det` is its module `models.det`."""
    options = dict(options)
    allowed = {"v2v": {"gnn_iter_times"}, "when2com": {"warp_flag"}}.get(word, set())
    if set(options) - allowed:
        raise InputError(
            f"expected options of {word} among {sorted(allowed)}, got {sorted(set(options) - allowed)}; "
            "build the model yourself and hand it to CoperceptionDetector"
        )
    if word == "v2v":
        options = {"gnn_iter_times": 3, **options, "layer_channel": CHANNELS[layer]}
    elif word == "when2com":
        options = {"warp_flag": 0, **options}
    else:
        options = {"kd_flag": 0}
    with redirect_stdout(io.StringIO()), old_names():
        model: nn.Module = getattr(det, CLASSES[word])(
            config, layer=layer, num_agent=agents, compress_level=compress_level, **options
        )
    return model


@dataclass(frozen=True, eq=False)
class Encoding:
    """What a model makes of one agent's raster, before anything is fused.

    Attributes:
        layers: five feature maps `(1, C, H, W)`, fine to coarse.
        payload: what the agent sends; `features` (C', H, W), and for When2com its `key` (K,).
        query: When2com's, `(Q,)`.
    """

    layers: tuple[Tensor, ...]
    payload: Mapping[str, Tensor]
    query: Tensor | None


class Model:
    """A user's model and what is asked of it.

    Raises:
        InputError: if it is of a class, in a mode or with settings that cannot be wrapped.
    """

    def __init__(self, model: nn.Module) -> None:
        self.module: Any = model.module if isinstance(model, nn.DataParallel) else model
        self.kind = kind_of(self.module)
        if self.module.training:
            raise InputError("expected a model in evaluation mode, got one in training mode; call model.eval() first")
        if self.module.p_com_outage:
            raise InputError(
                f"expected p_com_outage 0, got {self.module.p_com_outage}: which messages arrive would be random"
            )
        if self.module.only_v2i:
            raise InputError("expected only_v2i=False: with it, slot 0 decides which messages count at all")
        if self.module.category_num != 2 or self.module.out_seq_len != 1 or self.module.motion_state:
            raise InputError("expected a binary detector of one frame (Config(binary=True, only_det=True))")
        if self.kind == "when2com" and not self.module.has_query:
            raise InputError("expected has_query=True: without queries this model only runs on CUDA devices")

    def fingerprint(self) -> list[Any]:
        """Its class, code, plain settings (layer, rounds, ...) and weights; not what a forward leaves behind."""
        plain = {k: v for k, v in vars(self.module).items() if type(v) in (bool, int, float, str) and k not in TRACES}
        level = int(self.module.u_encoder.compress_level)
        kind = type(self.module)
        return [kind.__name__, plain, level, self.module.state_dict(), code_files(kind.__module__)]

    @property
    def agents(self) -> int:
        """Slots of the model, the ego's included."""
        return int(self.module.agent_num)

    @property
    def layer(self) -> int:
        return int(self.module.layer)

    @property
    def device(self) -> torch.device:
        return torch.device(next(iter(self.module.parameters())).device)

    @property
    def attends(self) -> bool:
        """Whether it is When2com, which weighs teammates by keys and a query."""
        return self.kind == "when2com"

    @property
    def warps(self) -> bool:
        """Whether features are brought to another agent's frame at all."""
        return not self.attends or bool(self.module.warp_flag)

    @property
    def compressed(self) -> bool:
        """Whether what is sent is a compressed map, which the receiver expands."""
        return self.layer == 3 and bool(self.module.u_encoder.compress_level)

    def payload_shapes(self, cells: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what an agent sends, of a raster of `cells` x `cells`."""
        squeeze = int(self.module.u_encoder.compress_level) if self.compressed else 0
        size = cells // 2**self.layer
        shapes: dict[str, tuple[int, ...]] = {FEATURES: (CHANNELS[self.layer] // 2**squeeze, size, size)}
        return {**shapes, KEY: (int(self.module.key_size),)} if self.attends else shapes

    # --------------------------------------------------------------------------------------------------- the parts
    def encode(self, bev: Array) -> Encoding:
        """Everything that one raster `(256, 256, 13)` gives, without gradients."""
        with torch.no_grad():
            raster = torch.tensor(bev, dtype=torch.float32, device=self.device)[None, None]
            with as_in_a_batch(self.module), self._sent() as sent:
                layers = tuple(self.module.u_encoder(raster.permute(0, 1, 4, 2, 3)))
            payload = {FEATURES: (sent[0] if sent else layers[self.layer])[0].contiguous()}
            query = None
            if self.attends:
                # Its small maps and sums are computed another way for a single row; so there are several.
                maps = self.module.query_key_net(raster.repeat(2, 1, 1, 1, 1).permute(0, 1, 4, 2, 3))
                rows = maps[:1].repeat(self.agents, 1, 1, 1)
                payload[KEY] = self.module.key_net(rows)[0]
                query = self.module.query_net(rows)[0]
        return Encoding(layers, payload, query)

    @contextmanager
    def _sent(self) -> Iterator[list[Tensor]]:
        """Takes down the compressed map as it passes; nothing where there is no compression."""
        taken: list[Tensor] = []
        if not self.compressed:
            yield taken
            return
        before = lambda _, inputs: taken.append(inputs[0])  # noqa: E731
        handle = self.module.u_encoder.com_decompresser.register_forward_pre_hook(before)
        try:
            yield taken
        finally:
            handle.remove()

    def coarser(self, features: Tensor, layers: Sequence[Tensor]) -> list[Tensor]:
        """The layers from the sent one, `features (C, H, W)`, on: each coarser one is made of the one before.

        Where this encoder does not show how, they are those of `layers`.
        """
        made, encoder = [features[None]], self.module.u_encoder
        for number, given in enumerate(layers[1:], self.layer + 1):
            steps = [getattr(encoder, f"{part}{number}_{k}", None) for k in (1, 2) for part in ("conv", "bn")]
            if number < _PLAIN or None in steps:
                made.append(given)
                continue
            x = made[-1]
            for conv, norm in (steps[:2], steps[2:]):
                x = functional.relu(norm(conv(x)))  # type: ignore[misc]
            made.append(x)
        return made

    def received(self, features: Tensor) -> Tensor:
        """The map `(C, H, W)` that is fused, turned as fusion wants it, of the `features` somebody sent."""
        if self.compressed:
            encoder = self.module.u_encoder
            features = functional.relu(encoder.bn_decompress(encoder.com_decompresser(features[None])))[0]
        return torch.flip(features, (1,))

    def warped(self, features: Tensor, src_T_dst: Array) -> Tensor:
        """A map `(C, H, W)` of src in the frame of dst; `src_T_dst (4, 4)`."""
        trans = torch.zeros(1, 2, 2, 4, 4, dtype=torch.float64)
        trans[0, 0, 1] = torch.from_numpy(src_T_dst)
        trans = trans.to(self.device)
        size = (1, *features.shape)
        warp = self.module.feature_transformation
        result: Tensor = warp(0, 0, 1, features[None, None], trans[:, 1], self.device, size, trans)
        return result

    def fused(self, own: Tensor, warped: Sequence[Tensor]) -> Tensor:
        """`FusionBase.fusion` of the ego's map and its teammates' `(C, H, W)`, all in the ego's frame."""
        if self.kind == "agent" and not warped:
            return own  # its softmax over one agent is 1; its own code indexes a number there and fails
        with restored(self.module, *TRACES):
            self.module.tg_agent = own
            self.module.neighbor_feat_list = [own, *warped]
            self.module.num_agent = 1 + len(warped)
            result: Tensor = self.module.fusion()
        return result[0] if result.ndim == 4 else result

    def decoded(self, layers: Sequence[Tensor], fused: Tensor) -> Tensor:
        """The last feature map `(1, 32, 256, 256)` with `fused (C, H, W)` in the place of the agent's own layer."""
        result: Tensor = self.module.get_decoded_layers(list(layers), torch.flip(fused[None], (2,)), 1)[0]
        return result

    def heads(self, x: Tensor) -> dict[str, Tensor]:
        """`loc (256, 256, anchors, 1, 6)` and `cls (256 * 256 * anchors, 2)` of one agent."""
        result = self.module.get_cls_loc_result(x)[2]
        return {"loc": result["loc"][0], "cls": result["cls"][0]}
