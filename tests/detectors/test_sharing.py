"""Defences that share a frame: who opens it later gets, bit by bit, what a session of its own would give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest

from robosac.defenses import NoDefense
from robosac.detectors import load
from robosac.detectors.session import SubsetSession
from robosac.detectors.sharing import KEPT, OneFrame, shared
from robosac.evaluation.play import encode_frames
from robosac.executors.local import Serial
from robosac.experiments.board.cells import check_of
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.simulation import scenario
from robosac.types import Detections


@pytest.fixture(scope="module", params=["sent", "in the ego's frame"])
def detector(request):
    made = load("mean")
    return made if request.param == "sent" else made.in_ego_frame()


@pytest.fixture(scope="module")
def encoded(detector):
    (frame,) = encode_frames([scenario("val", 0).snapshot(0).frame()], detector)
    return frame


def batches(ids):
    """What defences ask for: the ego alone, each beside it, all; some twice and in other company."""
    alone, everybody = frozenset(), frozenset(ids)
    singles = [frozenset([i]) for i in ids]
    pairs = [frozenset(p) for p in combinations(ids, 2)]
    return [[alone], [everybody], [alone, *singles], singles, [alone, everybody], [everybody, *pairs], pairs[:2]]


def same(one, other):
    return all(
        np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores) for a, b in zip(one, other, strict=True)
    )


def test_results_are_bit_by_bit_those_of_a_session_of_ones_own(detector, encoded):
    together, messages = shared(detector), list(encoded.honest.values())
    asked = batches(list(encoded.honest))
    for order in (asked, asked[::-1], asked[::-1]):
        ours = together.open(encoded.frame.ego, encoded.request, messages)
        own = detector.open(encoded.frame.ego, encoded.request, messages)
        for batch in order:
            assert same(ours.detect(batch), own.detect(batch))
        assert same(ours.solo(ours.ids), own.solo(own.ids))
        assert same(ours.solo(ours.ids[:1]), own.solo(own.ids[:1]))


def test_nobody_sees_what_another_asked_for(detector, encoded):
    together, messages = shared(detector), list(encoded.honest.values())
    first = together.open(encoded.frame.ego, encoded.request, messages)
    first.detect([frozenset()])
    second = together.open(encoded.frame.ego, encoded.request, messages)
    assert second is not first and not second._done and first._done


def test_who_writes_into_a_result_changes_nobody_elses(detector, encoded):
    together, messages = shared(detector), list(encoded.honest.values())
    everybody = frozenset(encoded.honest)
    for _ in range(2):
        own = detector.open(encoded.frame.ego, encoded.request, messages)
        opened = together.open(encoded.frame.ego, encoded.request, messages)
        found, shown = opened.detect([frozenset(), everybody]), opened.solo(opened.ids)
        assert same(found, own.detect([frozenset(), everybody])) and same(shown, own.solo(own.ids))
        for each in (*found, *shown):
            each.boxes[:], each.scores[:], each.score_map[:] = 0.0, 1.0, 1.0


def test_what_a_detector_adds_to_its_results_is_kept():
    @dataclass(frozen=True, eq=False)
    class More(Detections):
        raw: str = ""

    class Adapted(SubsetSession):
        def _decode(self, subsets):
            return [More(np.zeros((1, 7), np.float32), np.ones(1, np.float32), raw=str(len(s))) for s in subsets]

    session = Adapted({"a": None})
    for opened in (session, session.again()):
        assert [d.raw for d in opened.detect([frozenset(), frozenset("a")])] == ["0", "1"]


def test_work_is_done_once(detector, encoded, monkeypatch):
    together, messages = shared(detector), list(encoded.honest.values())
    decodes = []
    session = type(together.open(encoded.frame.ego, encoded.request, messages))
    decode = session._decode
    monkeypatch.setattr(session, "_decode", lambda self, new: decodes.append(tuple(new)) or decode(self, new))
    for _ in range(3):
        opened = together.open(encoded.frame.ego, encoded.request, messages)
        opened.detect([frozenset()])
        opened.detect([frozenset(), frozenset(opened.ids)])
    assert decodes == [(frozenset(),), (frozenset(opened.ids),)]


def test_other_messages_and_other_frames_are_opened_anew(detector, encoded):
    """The same sender with another payload, fewer senders, another look of the ego."""
    together = shared(detector)
    messages, ego = list(encoded.honest.values()), encoded.frame.ego
    spoilt = {k: v * 0 if v.dtype == np.float32 else v for k, v in messages[0].payload.items()}
    others = [replace(messages[0], payload=spoilt), *messages[1:]]
    full = frozenset(encoded.honest)
    for sent, view in (
        (messages, ego),
        (others, ego),
        (messages[1:], ego),
        (messages, replace(ego, points=ego.points[::2])),
    ):
        asked = [full & {m.sender for m in sent}]
        own = detector.open(view, encoded.request, sent).detect(asked)
        assert same(together.open(view, encoded.request, sent).detect(asked), own)


def test_so_many_are_kept_and_only_of_the_last_frame():
    made = []

    class Session:
        def again(self):
            return self

    def make():
        made.append(Session())
        return made[-1]

    frame, ego, to, messages = OneFrame(), object(), object(), [object() for _ in range(KEPT + 1)]
    for m in messages:
        frame.session(ego, to, [m], make)
    assert len(made) == KEPT + 1
    frame.session(ego, to, [messages[-1]], make)
    assert len(made) == KEPT + 1  # still there
    frame.session(ego, to, [messages[0]], make)
    assert len(made) == KEPT + 2  # the oldest had gone
    frame.session(ego, object(), [messages[0]], make)
    assert len(made) == KEPT + 3  # another moment


def test_a_detector_that_cannot_share_is_left_as_it_is():
    plain = object()
    assert shared(plain) is plain


def test_a_wrapper_that_passes_names_on_is_not_replaced_by_what_it_wraps(detector):
    class Wrapped:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

    wrapped = Wrapped(detector)
    assert shared(wrapped) is wrapped


class Spoils:
    """A defence that writes into all that it is handed, and fuses everybody."""

    def start(self, scenario, calibration, rng):
        return self

    def step(self, detector, ego, to, inbox):
        verdict = NoDefense().start("x", None, np.random.default_rng(0)).step(detector, ego, to, inbox)
        ego.points[:] = 0.0
        for received in inbox:
            for array in received.message.payload.values():
                array[:] = 0
            received.message.world_T_payload[:] = 0.0
        return verdict


@pytest.mark.parametrize("untimed", [False, True], ids=["timed", "untimed"])
def test_somebodys_own_defence_cannot_spoil_the_other_rows(tmp_path, untimed):
    named = ("none", "all-honest", "robosac")
    own = "tests.detectors.test_sharing:Spoils"
    grid = Grid(attack=("noise",), attackers=(0, 2), defense=named, scenes=1, frames=2)
    found = {}
    for name, rows in (("without", named), ("with", (own, *named))):
        plan = open_experiment(
            grid.model_copy(update={"defense": rows}), tmp_path / f"{name}-{untimed}", untimed=untimed
        )
        entries = run_experiment(plan, Serial())
        found[name] = {(e.cell.defense.name, e.cell.m): check_of(e.records) for e in entries}
    for m in (0, 2):
        assert found["with"].pop((own, m)) == found["with"]["none", m]
    assert found["with"] == found["without"]


def test_figures_of_an_experiment_do_not_depend_on_it(tmp_path):
    """Attacks of both forms of message, and one that asks the defence itself."""
    grid = Grid(
        attack=("noise", "pgd:steps=2", "black_box:queries=4"),
        attackers=(0, 2),
        defense=("none", "robosac", "made", "paper", "median"),
        scenes=1,
        frames=2,
    )
    found = {}
    for untimed in (False, True):
        entries = run_experiment(open_experiment(grid, tmp_path / str(untimed), untimed=untimed), Serial())
        found[untimed] = [(e.cell.defense.label, e.cell.m, check_of(e.records), e.notes) for e in entries]
    assert found[True] == found[False]
