"""Which cells an attack takes for objects: by the detector's own score; what is said where there are none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robosac import attacks
from robosac.attacks import (
    CwL2,
    CwMargin,
    Flood,
    Hide,
    HideOne,
    InvertedBce,
    Margin,
    Peaks,
    Pgd,
    Spoof,
    Threshold,
    Tu,
)
from robosac.attacks.features.labels import LABEL_SCORE, REPORTED, Scores, logit, scores_of
from robosac.attacks.features.objectives import NO_OBJECT, CleanFrame
from robosac.attacks.presets import preset
from robosac.errors import RobosacWarning
from robosac.evaluation.play import attacked_air
from robosac.types import Detections, Subset
from tests.attacks.toy import OBJECTS, ToyDetector, ToySession, full_logits, make_air

PEAK = 0.45  # no score of the capped detector is higher


@dataclass
class CappedSession(ToySession):
    """The toy's logits moved down, so that its best cell scores `PEAK`; a box a cell that scores `least` or more."""

    down: float = 0.0
    least: float = 0.3

    def logits(self, payloads: Mapping[str, Any], subsets: Sequence[Subset]) -> torch.Tensor:
        return super().logits(payloads, subsets) - self.down

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        with torch.no_grad():
            scores = self.logits({}, subsets).sigmoid().numpy()
        return [self._boxes(s) for s in scores]

    def _boxes(self, score_map: np.ndarray) -> Detections:
        rows, cols = np.nonzero(score_map >= self.least)
        boxes = np.zeros((len(rows), 7), np.float32)
        boxes[:, 0], boxes[:, 1], boxes[:, 3:6] = cols, rows, 1.0
        order = np.argsort(-score_map[rows, cols], kind="stable")
        return Detections(boxes[order], score_map[rows, cols].astype(np.float32)[order], score_map)


@dataclass
class Capped(ToyDetector):
    """A weak detector, as a model of somebody's who trained for twenty minutes. It says nothing of its scores."""

    down: float = 0.0

    def __post_init__(self) -> None:
        honest = full_logits(make_air(["a"]), [make_air(["a"]).honest["a"]])
        self.down = float(honest.max()) - logit(PEAK)

    def open(self, ego: Any, to: Any, messages: Any) -> Any:
        return CappedSession(self.features(ego), {m.sender: m for m in messages}, self.calls, self.down)


class Says(Capped):
    """The same, and it says from which score on it reports."""

    reporting_threshold = 0.3


def recalled(attack: Any, detector: Any) -> tuple[int, int]:
    """How many of the objects have a box without the attack, and with it."""
    air = make_air(["a"], detector=detector)
    sent = attack.start("scene", frozenset("a"), np.random.default_rng(0)).send(air)
    counts = []
    for messages in (list(air.honest.values()), sent):
        session = detector.open(air._ego, air.to, [*air._others.values(), *messages])
        found = session.detect([frozenset(session.ids)])[0]
        at = {(int(b[1]), int(b[0])) for b in found.boxes}
        counts.append(sum(cell in at for cell in OBJECTS))
    return counts[0], counts[1]


FIVE = InvertedBce(labels=Threshold(score=0.5))  # what the presets said before
GENTLE: dict[str, Any] = {"epsilon": 0.2, "start_std_per_epsilon": 0.0}


@pytest.mark.parametrize("detector", [Says, Capped], ids=["says", "says nothing"])
def test_pgd_hides_the_objects_of_a_detector_that_is_never_sure(detector: Any) -> None:
    hiding = Pgd(objective=Hide(), **GENTLE)
    assert recalled(hiding, detector()) == (2, 0)
    assert recalled(Pgd(**GENTLE), detector()) == (2, 0)  # the plain objective, too
    with pytest.warns(RobosacWarning, match="nothing to hide"):
        assert recalled(Pgd(objective=FIVE, **GENTLE), detector()) == (2, 2)  # and at 0.5 it could only flood


def fixed_scores(settings: Any) -> Iterator[str]:
    """Names of the settings, however deep and in whatever order, that are a score of labels or of boxes."""
    if isinstance(settings, Mapping):
        labels = settings.get("kind") in ("threshold", "peaks")
        yield from (key for key in settings if key == "min_score" or (labels and key == "score"))
    if isinstance(settings, (Mapping, list, tuple)):
        for value in settings.values() if isinstance(settings, Mapping) else settings:
            yield from fixed_scores(value)


def test_a_score_that_is_named_is_found_wherever_it_stands() -> None:
    labels = {"score": 0.5, "kind": "peaks"}
    assert list(fixed_scores({"objective": {"terms": [[1.0, {"labels": labels}]]}, "min_score": 0.3})) == [
        "min_score", "score",
    ]  # fmt: skip
    assert not list(fixed_scores({"kind": "threshold", "at_most": 0.3, "score_of": 1}))


@pytest.mark.parametrize("name", attacks.names())
def test_no_preset_names_a_score_that_a_weak_detector_never_reaches(name: str) -> None:
    """Each of them was looked at: what is left says what an attacker wants, or is a bound and not a label."""
    assert list(fixed_scores(preset(name).settings)) == (["min_score"] if name == "remove_car" else [])


def test_the_score_is_the_attacks_own_then_the_detectors_then_read_off_its_boxes() -> None:
    def scores(detector: Any) -> Scores:
        air = make_air(["a"], detector=detector)
        session = detector.open(air._ego, air.to, [*air.honest.values(), *air._others.values()])
        return scores_of(detector, session, [frozenset(session.ids)])

    assert scores(Says()) == Scores(0.3, 0.3)
    assert scores(ToyDetector()) == Scores(LABEL_SCORE, REPORTED)  # says nothing and reports nothing
    read = scores(Capped())
    assert read.label == read.reported and 0.3 < read.label < PEAK  # just below the box of the lowest score
    both = type("Both", (Says,), {"label_score": 0.42})
    assert scores(both()) == Scores(0.42, 0.3)
    assert Threshold(score=0.7).of(read) == Threshold(score=0.7)
    assert Threshold().of(read).score == read.label and Threshold(at_most=0.1).of(read).score == 0.1
    assert scores(type("Sure", (Says,), {"reporting_threshold": 1.0})()).label < 1 and Threshold().of(Scores(1e-6, 0.1))


def test_the_lowest_box_is_an_object_to_the_attack() -> None:
    detector = Capped()
    air = make_air(["a"], detector=detector)
    session = detector.open(air._ego, air.to, [*air.honest.values(), *air._others.values()])
    everybody = [frozenset(session.ids)]
    (found,), logits = session.detect(everybody), session.logits({}, everybody)
    marked = Threshold().of(scores_of(detector, session, everybody)).mark(logits)
    assert int(marked.sum()) == len(found) == 2


def test_shipped_detectors_say_half() -> None:
    """Published figures were made with it; boxes are reported from 0.1 on, for whole curves."""
    from robosac import detectors

    shipped: Any = detectors.load("mean")
    assert (shipped.label_score, shipped.reporting_threshold) == (0.5, 0.1)
    warped = shipped.in_ego_frame()
    assert (warped.label_score, warped.reporting_threshold) == (0.5, 0.1)


@pytest.mark.parametrize("kind", ["late", "early"])
def test_fusions_of_boxes_and_points_say_theirs(kind: str) -> None:
    from robosac.capabilities import Reporting
    from robosac.detectors import EarlyFusion, LateFusion

    made = {"late": LateFusion, "early": EarlyFusion}[kind](lambda points: None, name="mine", min_score=0.25)
    assert isinstance(made, Reporting) and made.reporting_threshold == 0.25


# ----------------------------------------------------------------------------------------- objectives that read scores
CLEAN = torch.tensor([[[-3.0, logit(0.42), -0.6]]])


def frame(label: float = 0.4, reported: float = 0.4) -> tuple[CleanFrame, list[str]]:
    said: list[str] = []
    return CleanFrame(CLEAN, without=CLEAN - 1.0, scores=Scores(label, reported), note=said.append), said


def test_the_margin_is_counted_from_the_score_that_divides_objects_from_background() -> None:
    clean, said = frame()
    at = logit(0.4)
    wanted = (logit(0.42) - at) + (at + 3.0) + (at + 0.6)
    assert Margin(c=1.0, kappa=9.0).make_loss(clean)(CLEAN).item() == pytest.approx(wanted / 3, rel=1e-5)
    turned = torch.tensor([[[at + 0.1, at - 0.1, at + 0.1]]])
    assert Margin(c=1.0).make_loss(clean)(turned).item() == 0.0 and not said
    half = Margin(c=1.0, labels=Threshold(score=0.5)).make_loss(CleanFrame(-CLEAN))
    assert half(-CLEAN).item() == pytest.approx(float(CLEAN.abs().mean()), rel=1e-6)  # as it always was


def test_cw_turns_cells_at_the_score_of_the_detector() -> None:
    hidden = recalled(CwL2(epsilon=2.0, turned=0.1, rate=0.05), Says())
    assert hidden[0] == 2 and hidden[1] < 2
    assert recalled(CwMargin(epsilon=0.4), Says())[1] < 2


def test_tu_takes_the_confident_ones_of_a_detector_that_is_never_so_confident() -> None:
    clean, said = frame()
    loss = Tu(rejected=0.9, confident=0.9, weight=0.0).make_loss(clean)
    assert loss(CLEAN).item() == pytest.approx(float(torch.nn.functional.softplus(CLEAN[0, 0, 1])), rel=1e-6)
    assert not said


def test_a_flood_reaches_what_is_reported() -> None:
    clean, _ = frame(reported=0.8)
    reached = torch.full((1, 1, 3), logit(0.8) + 1.0)
    assert Flood(spacing=1).make_loss(clean)(reached).item() == pytest.approx(0.0, abs=1e-6)
    assert Flood(spacing=1).make_loss(clean)(reached - 0.5).item() > 0.4


def test_one_object_is_hidden_below_what_is_reported() -> None:
    clean, said = frame(0.4, 0.2)
    hide = HideOne(free_cells=0, hidden_cells=0, margin=0.0, pin=0.0, apart_cells=0)
    assert hide.target(clean) == (0, 1)
    gone = CLEAN.clone()
    gone[0, 0, 1] = logit(0.2)
    assert hide.make_loss(clean)(gone).item() == pytest.approx(0.0, abs=1e-6) and not said
    assert hide.make_loss(clean)(gone + 0.5).item() > 0.4


@pytest.mark.parametrize(
    "objective", [InvertedBce(), Hide(), Margin(), Tu(), HideOne(), InvertedBce(labels=Peaks())], ids=repr
)
def test_what_has_nothing_to_hide_says_so(objective: Any) -> None:
    clean, said = frame(label=0.6)
    objective.make_loss(clean)
    assert said == [NO_OBJECT]
    there, said = frame(label=0.4)
    objective.make_loss(there)
    assert said == []


def test_what_wants_objects_everywhere_needs_none() -> None:
    clean, said = frame(label=0.6)
    Spoof().make_loss(clean)
    assert said == []


# ------------------------------------------------------------------------------------------------------- who hears it
def test_evaluation_counts_what_anybody_else_is_warned_of() -> None:
    attack, detector = Pgd(objective=FIVE, steps=1), Says()
    air = make_air(["a"], detector=detector)
    with pytest.warns(RobosacWarning, match="nothing to hide") as heard:
        attack.start("scene", frozenset("a"), np.random.default_rng(0)).send(air)
    assert [Path(w.filename) for w in heard] == [Path(__file__)]  # the user's line, not one of ours
    assert all("\n" not in str(w.message) for w in heard)
    said: list[str] = []
    from robosac.types import Frame

    told = attacked_air(
        Frame("scene", 0, air._ego, air.own), detector, air.to, air.honest, frozenset("a"), attack.knowledge,
        note=said.append,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attack.start("scene", frozenset("a"), np.random.default_rng(0)).send(told)
    assert said == [NO_OBJECT]
