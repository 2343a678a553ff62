"""`verify_adapter` passes what is right, and each way of wrapping wrongly fails at its own check."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from robosac.capabilities import Verifiable
from robosac.evaluation.conformance import verify_adapter
from robosac.evaluation.differing import difference, tamper
from robosac.registry.detectors import open_detector
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, InputError, Request
from tests.toy import CODEC, ToyDetector, ToySession, detections, frame

FRAME = frame({"ego": [(0, 0), (9, 9)], "a": [(20, 0)], "b": [(0, 20)], "c": [(-20, 3), (5, 30)]})


class Session(ToySession):
    """The toy's, with what the protocol asks for: decoded once."""

    def detect(self, subsets):
        done = self.__dict__.setdefault("done", {})
        for s in subsets:
            if s not in done:
                done[s] = self.decode(s)
        return [done[s] for s in subsets]

    def decode(self, subset):
        return super().detect([subset])[0]


class Sound(ToyDetector):
    """Right in every respect but that it has no `logits`."""

    session = Session

    def open(self, ego, to, messages):
        return self.session(ego, {m.sender: m for m in messages})


class Greedy(Session):
    """Fuses everybody, whatever the subset."""

    def decode(self, subset):
        return super().decode(frozenset(self.ids))


class Leaky(Session):
    """The first teammate's message slips into every subset."""

    def decode(self, subset):
        return super().decode(subset | set(self.ids[:1]))


class Deaf(Session):
    """Hears nobody."""

    def decode(self, subset):
        return super().decode(EGO_ALONE)


class Forgetful(Session):
    detect = ToySession.detect


def failed(session, cls=Sound):
    detector = type("Wrong", (cls,), {"session": session})()
    report = verify_adapter(detector, FRAME, rng=np.random.default_rng(0))
    assert report.ok is (not [c for c in report.checks if c.passed is False])
    return [c.name for c in report.checks if c.passed is False]


def test_a_sound_detector_passes():
    report = verify_adapter(Sound(), FRAME, rng=np.random.default_rng(0))
    assert report.ok and report.compared == "fresh session" and report.speed > 0
    assert report.bytes_sent == {"a": 8, "b": 8, "c": 16}
    assert len(report.subsets) == len(set(report.subsets)) == 6
    assert report.subsets[:2] == ((), ("a", "b", "c"))
    assert [c.name for c in report.checks if c.passed is None] == ["gradients reach the messages"]


@pytest.mark.parametrize(
    ("session", "check"),
    [
        (Greedy, "a subset from the cache equals a forward with these agents only"),
        (Greedy, "and no other"),
        (Leaky, "a subset from the cache equals a forward with these agents only"),
        (Deaf, "a tampered message changes the subsets that hold it"),
        (Forgetful, "asked twice, decoded once; another session says the same"),
    ],
)
def test_each_wrong_wrapping_is_found(session, check):
    assert check in failed(session)


def test_a_codec_that_refuses_the_honest_is_found():
    strict = Sound(codec=replace(CODEC, arrays={"centres": ((None, 2), "float32", -1.0, 1.0)}))
    report = verify_adapter(strict, FRAME, rng=np.random.default_rng(0))
    assert "honest messages pass the gate" in [c.name for c in report.checks if c.passed is False]


def test_a_detector_that_cannot_be_alone_is_found():
    class Lonely(Sound):
        def open(self, ego, to, messages):
            if not messages:
                raise ValueError("needs somebody")
            return super().open(ego, to, messages)

    report = verify_adapter(Lonely(), FRAME, rng=np.random.default_rng(0))
    found = [c for c in report.checks if c.passed is False]
    assert [c.found for c in found if "empty scan" in c.name] == ["ValueError: needs somebody"]
    assert np.isnan(report.speed)


@dataclass
class WithFull(Sound):
    """Shows raw outputs, and a full forward that is off by `error`."""

    error: float = 0.0

    class session(Session):  # noqa: N801
        def outputs(self, subset):
            return {"n": np.array([len(self.detect([subset])[0])], float)}

    def full(self, ego, others, to, tampered=()):
        malicious = {m.sender: m for m in tampered}
        messages = [malicious.get(v.id, self.encode(v, to)) for v in others]
        every = np.concatenate([ego.points[:, :2], *(m.payload["centres"] for m in messages)])
        return {"n": np.array([len(detections(every)) + self.error])}


def test_the_unwrapped_model_is_what_is_compared_with():
    assert isinstance(WithFull(), Verifiable)
    report = verify_adapter(WithFull(), FRAME, rng=np.random.default_rng(0), n_subsets=4)
    assert report.compared == "full forward"
    cached = next(c for c in report.checks if c.name.startswith("a subset from the cache"))
    assert cached.passed
    off = verify_adapter(WithFull(error=1e-3), FRAME, rng=np.random.default_rng(0))
    cached = next(c for c in off.checks if c.name.startswith("a subset from the cache"))
    assert not cached.passed and "0.001" in cached.found and not off.ok


class WithMasked(WithFull):
    """Raw outputs that hold a masked logit, too; `error` is in what is beside it."""

    class session(WithFull.session):  # noqa: N801
        def outputs(self, subset):
            return {"n": np.append(super().outputs(subset)["n"], -np.inf)}

    def full(self, ego, others, to, tampered=()):
        return {"n": np.append(super().full(ego, others, to, tampered)["n"], -np.inf)}


@pytest.mark.parametrize(("error", "passed"), [(0.0, True), (0.5, False)])
def test_a_masked_logit_does_not_excuse_differences(error, passed):
    report = verify_adapter(WithMasked(error=error), FRAME, rng=np.random.default_rng(0), n_subsets=4)
    (cached,) = [c for c in report.checks if c.name.startswith("a subset from the cache")]
    assert cached.passed is passed and f"max |difference| {error:g} " in cached.found


def test_the_shipped_detector_passes_to_the_bit_with_gradients():
    taken = scenario("val", 0).snapshot(0).frame()[0]
    report = verify_adapter(open_detector("mean"), taken, rng=np.random.default_rng(0), tolerance=0.0)
    assert report.ok and all(c.passed for c in report.checks)


def test_gradients_that_do_not_arrive_are_found():
    class Cut(Session):
        def logits(self, payloads, subsets):
            return torch.zeros(len(subsets), 2, 2, requires_grad=True) + 0 * sum(
                p["centres"].sum() for p in payloads.values()
            )

    assert "gradients reach the messages" in failed(Cut)


def test_one_teammate_is_checked_as_far_as_it_goes():
    two = frame({"ego": [(0, 0)], "a": [(20, 0)]})
    report = verify_adapter(Sound(), two, rng=np.random.default_rng(0))
    assert report.ok and report.subsets == ((), ("a",)) and report.trial_ms > 0
    (open_,) = [c for c in report.checks if c.passed is None and "as are asked for" in c.name]
    assert open_.found.startswith("2 of 6")

    class SoundOfOne(Sound):
        session = Greedy

    assert not verify_adapter(SoundOfOne(), two, rng=np.random.default_rng(0)).ok
    with pytest.raises(InputError, match="expected a frame with teammates, got one without"):
        verify_adapter(Sound(), frame({"ego": []}), rng=np.random.default_rng(0))


def test_results_that_are_not_finite_are_found():
    """A NaN equals a NaN, so that all other checks pass."""

    class Broken(Session):
        def decode(self, subset):
            found = super().decode(subset)
            return replace(found, score_map=np.full_like(found.score_map, np.nan)) if len(subset) == 2 else found

    assert failed(Broken) == ["results of honest messages are finite"]


def test_tampering_stays_within_the_codec():
    message = Sound().encode(FRAME.others["c"], Request.of(FRAME.ego))
    malicious = tamper(message, CODEC, np.random.default_rng(0))
    assert malicious.payload["centres"].dtype == np.float32
    assert not np.array_equal(malicious.payload["centres"], message.payload["centres"])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": np.array([1.0, 2.0])}, {"x": np.array([1.0, 2.5])}, 0.5),
        ({"x": np.array([1.0])}, {"y": np.array([1.0])}, np.inf),
        ({"x": np.array([1.0])}, {"x": np.array([1.0, 1.0])}, np.inf),
        ({"x": np.array([np.nan])}, {"x": np.array([1.0])}, np.inf),
        ({"x": np.array([np.nan, 1.0])}, {"x": np.array([np.nan, 3.0])}, 2.0),
        ({"x": np.zeros(0)}, {"x": np.zeros(0)}, 0.0),
        ({"x": np.array([-np.inf])}, {"x": np.array([-np.inf])}, 0.0),
        ({"x": np.array([-np.inf])}, {"x": np.array([1.0])}, np.inf),
        ({}, {}, 0.0),
    ],
)
def test_difference_by_hand(a, b, expected):
    assert difference(a, b) == expected
