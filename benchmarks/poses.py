"""Are claimed poses that are off mended or refused, and honest ones left alone? `python -m benchmarks.poses`

    python -m benchmarks.poses                                    # 20 simulated validation scenes, shipped detector
    python -m benchmarks.poses --data data:PATH --ego each        # a recording
    python -m benchmarks.poses --data data:PATH --labels          # with the data set's own labels as detections

Attacks of the package (gps_offset, heading_bias, drift) by one and two of the teammates; a row for honest poses, and
one for honest poses with .2 m and .2 degrees of noise and, where frames allow it, 100 ms late. Counted are attackers of
frames in which at least three objects are seen in common: by the ego's own result and by the attacker's solo result,
each within 1.5 m of the same true object. With --labels a detection is an object with at least 5 points of the agent,
with the scatter of a detector (.3 m along, .15 m across, 3 degrees). "kept" counts what was mended to less
than .3 m or refused.
Stopped, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import Option, options, refusing
from robosac.air import Attack, Attacker
from robosac.boxes import invert_pose, transform_boxes
from robosac.capabilities import Claim
from robosac.data.dataset import DataSet
from robosac.data.noise import Disturbance, Gaussian
from robosac.evaluation.play import attacked_air, choose_attackers
from robosac.executors import make_executor
from robosac.experiments.studies import study
from robosac.poses import FreeGround, JointCheck
from robosac.poses.check import ELSEWHERE_LIMIT, SHIFT_LIMIT
from robosac.poses.objects import ACROSS_M, ALONG_M, HEADING_DEG
from robosac.registry.attacks import open_attack
from robosac.registry.data import is_simulated, open_recording
from robosac.registry.detectors import open_detector
from robosac.types import (
    EGO_ALONE,
    Bool,
    Codec,
    Detections,
    Float32,
    Frame,
    Id,
    Message,
    Request,
    Subset,
    Truth,
    View,
    keyed_rng,
)

OFFSETS: Final = tuple(f"gps_offset:offset_m={m:g}" for m in (0.5, 1.0, 2.0, 4.0, 8.0))
HEADINGS: Final = tuple(f"heading_bias:bias_deg={d:g}" for d in (1.0, 2.0, 5.0, 10.0))
DRIFT: Final = "drift:limit_m=5.0,metres_per_second=2.0"
HONEST, NOISY = "honest", "honest, noise and delay"
NOISE: Final = Gaussian(sigma_m=0.2, sigma_deg=0.2)
_COMMON: Final = 3
_MENDED_M: Final = 0.3


@dataclass(frozen=True)
class Case:
    """What is looked at; plain, so that it goes to another process."""

    data: str
    detector: str
    labels: bool
    ego: str
    seed: int
    shift_limit: float
    elsewhere_limit: float


# ------------------------------------------------------------------------------------------------ what agents show
class Seen:
    """What the ego and the senders of messages show: results of a detector, or labels."""

    def __init__(self, case: Case) -> None:
        self.case, self.codec, self.name = case, Codec("labels", {}), "labels"
        self.detector: Any = None if case.labels else open_detector(case.detector)

    def encode(self, frame: Frame, truth: Truth, to: Request) -> dict[Id, Message]:
        if self.detector is not None:
            return {i: self.detector.encode(v, to) for i, v in frame.others.items()}
        return {i: Message.of(v, to, "labels", self._labels(frame, truth, v)) for i, v in frame.others.items()}

    def shown(
        self, frame: Frame, truth: Truth, to: Request, messages: Sequence[Message], who: Sequence[Id]
    ) -> tuple[Detections, dict[Id, tuple[Detections, Claim]]]:
        """The ego's own result, and of each of `who` the solo result and the claim."""
        if self.detector is not None:
            session = self.detector.open(frame.ego, to, messages)
            solos = zip(who, session.solo(who), strict=True)
            return session.detect([EGO_ALONE])[0], {i: (d, session.claim(i)) for i, d in solos}
        found = {}
        for m in messages:
            pose = invert_pose(to.world_T_ego) @ m.world_T_payload
            boxes = transform_boxes(pose, m.payload["boxes"])
            found[m.sender] = (_sure(boxes), Claim(pose, (to.t_ns - m.sensed_ns) / 1e9))
        own = self._labels(frame, truth, frame.ego)["boxes"]
        return _sure(own), {i: found[i] for i in who}

    def _labels(self, frame: Frame, truth: Truth, view: View) -> Mapping[str, Float32]:
        rng = keyed_rng(self.case.seed, frame.scenario, frame.index, view.id, "labels")
        true = truth.world_T_sensor
        mine = transform_boxes(invert_pose(true[view.id]) @ true[frame.ego.id], truth.boxes[truth.hits[view.id] >= 5])
        along, across, turn = (rng.normal(size=len(mine)) * s for s in (ALONG_M, ACROSS_M, np.radians(HEADING_DEG)))
        cos, sin = np.cos(mine[:, 6]), np.sin(mine[:, 6])
        mine[:, 0] += cos * along - sin * across
        mine[:, 1] += sin * along + cos * across
        mine[:, 6] += turn
        return {"boxes": mine}


def _sure(boxes: Float32) -> Detections:
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32))


# ------------------------------------------------------------------------------------------------------- one scene
def frames_of(case: Case, scene: int, wrong: Disturbance, ticks: Sequence[int]) -> Iterator[tuple[Frame, Truth]]:
    """Frames of a simulated scene at these ticks, or the one recorded frame of that number."""
    if is_simulated(case.data):
        from robosac.simulation import SimConfig, scenario

        made = scenario("val", scene, seed=case.seed, config=SimConfig(n_frames=max(ticks) + 1))
        for k in ticks:
            yield wrong.scene(lambda i: made.snapshot(i).frame(), k)
        return
    options_of: dict[str, Any] = {"pose_noise": wrong.pose_noise, "delay_frames": wrong.delay_frames}
    yield DataSet(open_recording(case.data), ego=case.ego, seed=case.seed, **options_of)[scene]


class Moment:
    """A frame with what everybody honestly sends and shows, once for all attacks on it."""

    def __init__(self, seen: Seen, frame: Frame, truth: Truth) -> None:
        self.seen, self.frame, self.truth, self.to = seen, frame, truth, Request.of(frame.ego)
        self.honest = seen.encode(frame, truth, self.to)
        self.own, self.shown = seen.shown(frame, truth, self.to, list(self.honest.values()), sorted(self.honest))
        self.ground = FreeGround.of(frame.ego.points)
        self.visible = {i: int((_sees(self.own, truth) & _sees(d, truth)).sum()) for i, (d, _) in self.shown.items()}

    def sent(self, attack: Attack, attacker: Attacker, attackers: Subset) -> dict[Id, Message]:
        """The attackers' messages."""
        present = attackers & set(self.frame.others)
        detector: Any = self.seen.detector or self.seen
        air = attacked_air(self.frame, detector, self.to, self.honest, present, attack.knowledge)
        return {message.sender: message for message in attacker.send(air)}

    def rows(self, row: str, m: int, attacked: Mapping[Id, Message]) -> list[dict[str, Any]]:
        """A row for each attacker; for each teammate, where nobody attacks."""
        case, who = self.seen.case, sorted(attacked) or sorted(self.honest)
        shown = dict(self.shown)
        if attacked:
            messages = list({**self.honest, **attacked}.values())
            shown |= self.seen.shown(self.frame, self.truth, self.to, messages, who)[1]
        verdicts = JointCheck().judge(
            self.own,
            {i: d for i, (d, _) in shown.items()},
            {i: c for i, (_, c) in shown.items()},
            self.ground,
            case.shift_limit,
            case.elsewhere_limit,
        )
        made = []
        for i in who:
            right = invert_pose(self.to.world_T_ego) @ self.honest[i].world_T_payload
            pose = verdicts[i].offset.matrix @ shown[i][1].ego_T_payload
            left = float(np.hypot(*(pose - right)[:2, 3]))
            made.append({"row": row, "m": m, "kind": verdicts[i].kind, "left": left, "common": self.visible[i]})
        return made


def measured(scene: int, *, case: Case) -> list[dict[str, Any]]:
    """A row for each attacker, or honest teammate, of each frame and attack."""
    seen, exact = Seen(case), Disturbance()
    rows: list[dict[str, Any]] = []
    for moment in (Moment(seen, *both) for both in frames_of(case, scene, exact, [0])):
        rows += moment.rows(HONEST, 0, {})
        for name in (*OFFSETS, *HEADINGS):
            for m in range(1, min(2, len(moment.frame.others)) + 1):
                rows += moment.rows(name, m, moment.sent(*_attack(case, name, moment.frame, m)))
    late = int(is_simulated(case.data))
    wrong = Disturbance(pose_noise=NOISE, delay_frames=late, seed=case.seed)
    for moment in (Moment(seen, *both) for both in frames_of(case, scene, wrong, [late])):
        rows += moment.rows(NOISY, 0, {})
    if is_simulated(case.data):
        moments = [Moment(seen, *both) for both in frames_of(case, scene, exact, [0, 10, 20])]
        for m in (1, 2):
            attack, attacker, attackers = _attack(case, DRIFT, moments[0].frame, m)
            sent = [moment.sent(attack, attacker, attackers) for moment in moments]  # honest in the first
            for moment, messages in list(zip(moments, sent, strict=True))[1:]:
                rows += moment.rows("drift 2 m/s, after 1 and 2 s", m, messages)
    return rows


def _attack(case: Case, name: str, frame: Frame, m: int) -> tuple[Attack, Attacker, Subset]:
    attack = open_attack(name)
    attackers = choose_attackers(case.seed, frame.scenario, list(frame.others), m)
    return attack, attack.start(frame.scenario, attackers, keyed_rng(case.seed, frame.scenario, "attack", m)), attackers


def _sees(found: Detections, truth: Truth) -> Bool:
    """Which true objects a result shows."""
    boxes = found.boxes[found.scores >= 0.25]
    if not len(boxes):
        return np.zeros(len(truth.boxes), np.bool_)
    away = np.hypot(*(truth.boxes[:, None, :2] - boxes[None, :, :2]).transpose(2, 0, 1))
    return np.asarray(away.min(axis=1) < 1.5)


# -------------------------------------------------------------------------------------------------------- the table
def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{'claimed pose':<28}{'of':>3}{'n':>6}{'3 in common':>13}{'corrected':>11}{'< .3 m':>8}{'refused':>9}"
        f"{'unknown':>9}{'fine':>7}{'kept':>7}{'left, m':>9}{'90 %':>6}"
    ]
    names = list(dict.fromkeys((r["row"], r["m"]) for r in rows))
    for name, m in names:
        every = [r for r in rows if (r["row"], r["m"]) == (name, m)]
        told = [r for r in every if r["common"] >= _COMMON]
        corrected = [r for r in told if r["kind"] == "corrected"]
        good = [r for r in corrected if r["left"] < _MENDED_M]
        share = {
            k: sum(r["kind"] == k for r in told) / max(len(told), 1)
            for k in ("corrected", "refused", "unknown", "fine")
        }
        left = [r["left"] for r in corrected] or [float("nan")]
        kept = (len(good) + sum(r["kind"] == "refused" for r in told)) / max(len(told), 1)
        lines.append(
            f"{name:<28}{m or '-':>3}{len(every):>6}{len(told):>13}{share['corrected']:>11.3f}"
            f"{len(good) / max(len(told), 1):>8.3f}{share['refused']:>9.3f}{share['unknown']:>9.3f}"
            + f"{share['fine']:>7.3f}"
            + (f"{kept:>7.3f}" if m else f"{'-':>7}")
            + f"{np.median(left):>9.2f}{np.quantile(left, 0.9):>6.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    args = options(
        __doc__,
        data=Option("sim:default", "sim:PRESET or data:PATH"),
        detector=Option("mean", "as for robosac evaluate"),
        labels=Option(False, "the data set's labels as detections"),
        ego=Option("first", "of a recording: first, each or a name"),
        scenes=Option(20, "scenes, or frames of a recording, at most"),
        seed=0,
        shift_limit=Option(SHIFT_LIMIT, "gain near the claim that an honest pose may have"),
        elsewhere_limit=Option(ELSEWHERE_LIMIT, "gain anywhere"),
        jobs=1,
        out=Path("runs/poses"),
    )
    with refusing():
        case = Case(args.data, args.detector, args.labels, args.ego, args.seed, args.shift_limit, args.elsewhere_limit)
        count = args.scenes
        if not is_simulated(args.data):
            count = min(count, len(DataSet(open_recording(args.data), ego=args.ego)))
        found = study(
            partial(measured, case=case), list(range(count)), args.out, make_executor(args.jobs), decides=case
        )
    what = "labels" if args.labels else args.detector
    print(f"{args.data}, {count} scenes or frames, {what}; shares of attackers with {_COMMON} objects in common")
    print(table([row for rows in found for row in rows]))


if __name__ == "__main__":
    main()
