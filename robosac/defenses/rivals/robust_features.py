"""Robust aggregation of features: the median, the trimmed mean or the geometric median of what is sent.

Source: the plain baseline of Byzantine-robust learning (coordinate-wise median and trimmed mean: Yin et al., arXiv
1803.01498; geometric median: Pillutla et al., arXiv 1912.13445), on feature maps instead of gradients. Papers of
this field do not compare with it.

A detector's fusion is its own and cannot be replaced from outside. So each cell's robust aggregate of all maps, the
ego's among them and in the ego's frame, is sent once for every teammate in place of what it sent: any fusion of
equal maps is close to that map, and the number of maps is what the fusion was trained with. Cells that an agent's
map does not cover are not counted; where nobody's does, the ego's own values stand. Everybody is used and nobody is
accused. Detectors that send boxes have no maps: there the ego alone stands, and `late-votes` is the idea's form on
boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.calibration import Calibration
from robosac.capabilities import Contributing
from robosac.defenses.rivals.frame import Choice, Look, Peer
from robosac.errors import InputError
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detections, Float32, Message


def aggregated(maps: Float32, valid: np.ndarray, how: str, trim: float = 0.2, steps: int = 8) -> Float32:
    """One map `(C, H, W)` of maps `(N, C, H, W)`, those counting that are `valid (N, H, W)`; at least one everywhere.

    Args:
        trim: share of the values of a cell that are left out at either end.
        steps: of Weiszfeld's iteration for the geometric median over channels.
    """
    held = np.where(valid[:, None], maps, np.nan)
    if how == "median":
        return np.asarray(np.nanmedian(held, axis=0), np.float32)
    if how == "trimmed":
        count = valid.sum(axis=0)
        ranked = np.sort(held, axis=0)  # NaN last
        rank = np.arange(len(maps))[:, None, None, None]
        cut = np.floor(trim * count)[None, None]
        kept = (rank >= cut) & (rank < count[None, None] - cut)
        return np.asarray(np.where(kept, ranked, 0.0).sum(axis=0) / kept.sum(axis=0), np.float32)
    centre = np.nanmedian(held, axis=0)
    for _ in range(steps):
        apart = np.sqrt(np.square(np.nan_to_num(held - centre)).sum(axis=1)) + 1e-3  # (N, H, W)
        weight = np.where(valid, 1.0 / apart, 0.0)
        centre = (np.nan_to_num(held) * weight[:, None]).sum(axis=0) / weight.sum(axis=0)
    return np.asarray(centre, np.float32)


@dataclass(frozen=True, kw_only=True)
class RobustFeatures:
    """One robust map in place of everybody's.

    Attributes:
        how: "median", "trimmed" or "geometric".
        trim: share left out at either end, of the trimmed mean.
    """

    how: str = "median"
    trim: float = 0.2
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        if self.how not in ("median", "trimmed", "geometric"):
            raise InputError(f"expected how of RobustFeatures to be median, trimmed or geometric, got {self.how!r}")
        if not 0 <= self.trim < 0.5:
            raise InputError(f"expected trim of RobustFeatures in [0, 0.5), got {self.trim!r}")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, self.decide)

    def decide(self, look: Look) -> Choice:
        """One frame; there is no memory."""
        everybody = frozenset(look.ids)
        result = self._fused(look)
        if result is None or not result.finite:
            return Choice(EGO_ALONE, "no maps to aggregate: the ego's own result stands")
        look.decoded.add(everybody)
        return Choice(everybody, f"the {self.how} of {len(everybody)} maps and the ego's own", result=result)

    def _fused(self, look: Look) -> Detections | None:
        session, codec = look.session, look.detector.codec
        if not isinstance(session, Contributing):
            return None
        try:
            shown = [session.contribution(i) for i in (None, *look.ids)]
        except InputError:
            return None
        names = set(shown[0].features)
        fits = all(
            tuple(m.shape) == tuple(codec.arrays[n][0])
            for s in shown
            for n, m in s.features.items()
            if n in codec.arrays
        )
        if not names or names != set(codec.arrays) or not fits:
            return None
        payload = {}
        for name in names:
            maps = np.stack([np.nan_to_num(s.features[name], posinf=0.0, neginf=0.0) for s in shown])
            valid = np.stack([np.ones(maps.shape[2:], np.bool_) if s.valid is None else s.valid for s in shown])
            valid[0] = True
            _, dtype, low, high = codec.arrays[name]
            payload[name] = np.clip(aggregated(maps, valid, self.how, self.trim), low, high).astype(dtype)
        messages = [Message(i, look.to.ego, look.to.t_ns, look.to.world_T_ego, codec.name, payload) for i in look.ids]
        with look.stages.measure("decode"):
            return look.detector.open(look.ego, look.to, messages).detect([frozenset(look.ids)])[0]
