"""How many messages an OpenCOOD model takes, and what a sender claims about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from robosac.detectors.adapters.opencood.views import BatchView
from robosac.detectors.messages import check_names
from robosac.types import Array, Float32, Id, InputError, View

PRIOR: Final = "prior"
PRIOR_HIGH: Final = np.array([10.0, 10.0, 1.0], np.float32)  # 300 km/h, 10 frames of delay, a flag


def prior_of(view: View) -> Float32:
    """`(3,)` [speed / 30 km/h, delay in frames, 1 for a roadside unit].

    A view says nothing of speed and delay: both are 0 unless it was cut from a batch.
    """
    if isinstance(view, BatchView):
        return safe_prior(view.source.geometry.prior[view.row])
    return np.array([0.0, 0.0, float(view.kind == "roadside")], np.float32)


def safe_prior(prior: Array) -> Float32:
    """A sender's claims about itself within what the model's embeddings have rows for; beyond, it would raise."""
    return np.asarray(np.clip(prior, 0.0, PRIOR_HIGH), np.float32)


def check_agents(ego: Id, senders: Sequence[Id], most: int | None) -> None:
    """Raises `InputError` unless the senders differ, none is the ego, and there are at most `most`."""
    check_names(ego, senders)
    if most is not None and len(senders) > most:
        raise InputError(
            f"expected at most {most} teammates, as the model was built for max_cav {most + 1}, got {len(senders)}; "
            "choose some, or train with a larger max_cav"
        )
