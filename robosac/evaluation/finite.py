"""NaN and inf in what a detector makes: whose fault they are, and what becomes of them.

Comparisons with NaN say "nothing there", so a broken model would be measured as one that finds nothing: AP 0, with an
interval. Honest messages, and results that rest on them alone, are the detector's own: where these are not finite it is
an error that says so. Where the result of an attacker's message is not finite, and with its honest message it would be,
that is what the attack did, and it is judged: a box that is not finite is a mistake like any other box on nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from robosac.defenses.protocol import FINITE
from robosac.types import EGO_ALONE, Detections, InputError, Message, Subset, Verdict


def check_honest(detector: str, messages: Iterable[Message]) -> None:
    """That honest messages are finite.

    Raises:
        InputError: one is not: the detector's weights or its code are broken.
    """
    for message in messages:
        for name, array in message.payload.items():
            if not _finite(array):
                raise InputError(
                    f"expected {detector!r} to encode finite messages, got NaN or inf in {name!r} of "
                    f"{message.sender!r}, which is honest; its weights or its code are broken"
                )


def judged_result(detector: str, verdict: Verdict, honest: Subset, again: Callable[[Subset], Detections]) -> Detections:
    """The result as it is judged: boxes and scores finite.

    Args:
        detector: its name.
        verdict: of a frame.
        honest: the teammates that are.
        again: the result of a subset if everybody in it were honest.

    Raises:
        InputError: that result, or a trial's, is not finite and no attack is to blame; or it is empty since what the
            detector makes of the ego alone or of all who are honest is not finite.
    """
    result = verdict.result
    broken = [t.subset for t in verdict.trials if not t.scores.get(FINITE, 1)]
    broken += [] if result.finite else [verdict.used]
    doubtful = [] if len(result) else [EGO_ALONE, honest]
    if any(subset <= honest for subset in broken) or not all(again(s).finite for s in (*broken, *doubtful)):
        raise InputError(
            f"expected finite results of {detector!r}, got NaN, inf or a failure without a message of an attacker; its "
            "weights or its code are broken"
        )
    if result.finite:
        return result
    boxes, scores = np.isfinite(result.boxes).all(axis=1), np.isfinite(result.scores)
    if (boxes & scores).all():
        return result
    nothing = np.zeros((1, 7), np.float32)  # in every region, and without a size: it overlaps no object
    sound = np.where((boxes & scores)[:, None], result.boxes, nothing)
    return replace(result, boxes=sound, scores=np.where(scores, result.scores, 1).astype(np.float32))


def _finite(array: object) -> bool:
    """Whether an array holds finite numbers; what holds no numbers is the gate's matter."""
    values = np.asarray(array)
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())
