"""The pictures of `robosac attacks --gallery`: every attack on one simulated scene, fused without a defence.

A scene is played from its first frame on, for attacks that remember; shown is its first frame where the attack acts
there, else the last one in which it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.air import Knowledge, attacker_of
from robosac.cli.attack_words import acts, said_by, wrapped
from robosac.defenses import NoDefense
from robosac.evaluation.ap import counted, match_truth
from robosac.evaluation.play import EncodedFrame, Moment, Played, encode_frames, play
from robosac.feature_scale import in_words
from robosac.files import check_writable, write_whole
from robosac.registry.attacks import described, fitted, open_attack
from robosac.registry.defenses import policy
from robosac.registry.detectors import open_detector, saved_calibration
from robosac.simulation import Scenario, scenario
from robosac.types import (
    Detector,
    Frame,
    Id,
    InputError,
    Message,
    Received,
    Request,
    RobosacError,
    Subset,
    Truth,
    Verdict,
    View,
    keyed_rng,
)

if TYPE_CHECKING:
    from robosac.attacks.base import Measured
    from robosac.viz.gallery import Drawn, Seen


IN_EGO_FRAME: Final = " in the ego's frame"  # after a detector's name: the form of it whose senders warp


@dataclass(frozen=True)
class GallerySettings:
    """What is drawn, and where it goes."""

    out: Path
    detector: str = "mean"
    seed: int = 0
    scene: int = 3
    n_attackers: int = 2
    root: Path | None = None  # a checkout of the detector's framework

    def __post_init__(self) -> None:
        if self.n_attackers < 1 or self.seed < 0 or self.scene < 0:
            raise InputError(
                f"expected attackers >= 1, seed >= 0 and scene >= 0, got {self.n_attackers}, {self.seed}, {self.scene}"
            )


def draw_all(
    settings: GallerySettings, names: Sequence[str], *, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Drawn]:
    """Write NAME.png for every preset named and index.html; says of each what was drawn, or why not.

    Raises:
        InputError: the folder takes no files, the detector's name means nothing, or the scene has too few teammates.
    """
    from robosac.viz.gallery import gallery_page

    check_writable(settings.out)
    open_detector(settings.detector, root=settings.root)  # a wrong name is reported before the work
    entries: list[Drawn] = []
    progress(0, len(names))
    for k, name in enumerate(names):
        entries.append(draw(settings, name))
        progress(k + 1, len(names))
    title = "What the attacks do"
    subtitle = (
        f"scene {settings.scene} of the simulation's test split, seed {settings.seed}, {settings.n_attackers} attack; "
        f"detector {settings.detector} where nothing else is said; everybody who passes the gate is fused"
    )
    write_whole(settings.out / "index.html", gallery_page(title, subtitle, entries).encode())
    return entries


def draw(settings: GallerySettings, name: str) -> Drawn:
    """The picture of one attack, written; or the reason why there is none."""
    from robosac.viz.canvas import save_png
    from robosac.viz.gallery import Drawn, attack_figure

    row = described(name)
    attack = open_attack(name)
    facts = {
        "what": row["about"],
        "stage": row["stage"],
        "needs to know": ", ".join(row["knows"]),
        "budget": f"{in_words(row['budget'])} {row['unit']} ({row['novelty']})",
        "source": row["source"],
    }
    try:
        victim = victim_of(attack, settings.detector)
        here = [_moment(settings.scene, settings.seed, 0).frame]  # a picture of one scene: its own scale
        shot = before_after(settings, fitted(attack, _detector(victim, settings.root), lambda: here), victim)
    except RobosacError as error:
        return Drawn(name, facts, reason=" ".join(str(error).split()))
    facts |= {"detector": victim, "frame": str(shot.frame.index), "sent": "; ".join(shot.said)}
    figure = attack_figure(
        shot.clean,
        shot.attacked,
        truth_boxes=shot.truth.boxes[counted(shot.truth, shot.region, agents=(shot.frame.ego.id, *shot.frame.others))],
        attackers=shot.attackers,
        region=shot.region,
        points=shot.points,
        footnote=[f"{name} on {victim}, frame {shot.frame.index}", *wrapped(shot.said)],
    )
    save_png(figure, settings.out / f"{name}.png")
    alt = f"{name} from above: without the attack {shot.clean.note}; with it {shot.attacked.note}"
    return Drawn(name, facts, picture=f"{name}.png", alt=alt)


def victim_of(attack: Measured, detector: str) -> str:
    """A detector that an attack can act on: boxes are sent in late fusion only; a transfer comes from another one."""
    if attack.stage.value == "boxes" and not detector.startswith("late:"):
        return f"late:{detector}"
    if getattr(attack, "source", None) == detector:
        return "mean" if detector != "mean" else "max"
    return detector + (IN_EGO_FRAME if getattr(attack, "needs_ego_frame", False) else "")


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """One frame without and with an attack.

    `attackers` as labelled; `said` is what they sent in words; `points` whether points were sent.
    """

    frame: Frame
    truth: Truth
    clean: Seen
    attacked: Seen
    attackers: Subset
    said: Sequence[str]
    region: Any
    points: bool


def before_after(settings: GallerySettings, attack: Measured, victim: str) -> BeforeAfter:
    """Play the scene until the attack has acted; against the default defence, if the attack knows it."""
    detector = _detector(victim, settings.root)
    if detector.grid is None:
        raise InputError(f"expected a detector with a BEV grid, got {victim!r} without one")
    staged = (_encoded(victim, settings, k) for k in range(_scenario(settings.scene, settings.seed).n_frames))
    knows = attack.knowledge & (Knowledge.DEFENSE | Knowledge.SEED)
    played = play(
        staged,
        detector,
        attack,
        (settings.n_attackers,),
        [policy("robosac" if knows else "none")],
        seed=settings.seed,
        calibration=saved_calibration(detector),
        opener=partial(_detector, root=settings.root),
    )
    acted: list[tuple[int, Played]] = []
    for index, p in enumerate(played):
        active = acts(_encoded(victim, settings, index).honest, _sent(p), p.truth.attackers)
        if index == 0 or active:
            acted.append((index, p))
        if index == 0 and active:
            break
    return _shot(settings, victim, *acted[-1])


def _sent(p: Played) -> list[Message]:
    """What the attackers sent."""
    return [r.message for r in p.inbox if attacker_of(r.link) in p.truth.attackers]


def _shot(settings: GallerySettings, victim: str, index: int, p: Played) -> BeforeAfter:
    detector, honest, sent = _detector(victim, settings.root), _encoded(victim, settings, index).honest, _sent(p)
    frame, truth, present = p.frame, p.truth, p.truth.attackers
    to = Request.of(frame.ego)
    clean, attacked = (
        NoDefense().start(frame.scenario, None, keyed_rng(0)).step(detector, frame.ego, to, inbox)
        for inbox in ([Received.honest(m, to) for m in honest.values()], p.inbox)
    )
    labels = {link: f"#{k}" for k, link in enumerate(sorted({m.sender for m in sent} - set(frame.others)))}
    past = {k: _encoded(victim, settings, k).honest for k in range(index)}
    said = []
    for who in sorted(present):
        own = [m for m in sent if attacker_of(m.sender) == who]
        earlier = {k: messages[who] for k, messages in past.items() if who in messages}
        said.append(f"{who}: {said_by(honest[who], own, earlier)}")
    said += [f"the gate refuses {link}: {why}" for link, why in sorted(attacked.rejected.items())]
    inbox = [r.message for r in p.inbox]
    before = _seen(frame, frame, truth, detector, clean)
    after = _seen(frame, claimed(frame, honest, inbox, labels), truth, detector, attacked, labels)
    points = any("points" in m.payload for m in inbox)
    return BeforeAfter(frame, truth, before, after, present | set(labels.values()), said, detector.grid, points)


def _seen(
    frame: Frame,
    shown: Frame,
    truth: Truth,
    detector: Detector,
    verdict: Verdict,
    labels: Mapping[Id, str] = MappingProxyType({}),
) -> Seen:
    from robosac.viz.gallery import Seen

    assert detector.grid is not None
    matches = match_truth(verdict.result, truth, detector.grid, agents=(frame.ego.id, *frame.others))
    hits = matches.hits(0.5)
    note = f"{int((hits == 1).sum())} of {matches.n_gt} found, {len(verdict.result)} boxes"
    return Seen(shown, verdict.result, frozenset(labels.get(i, i) for i in verdict.used), hits, note)


def claimed(frame: Frame, honest: Mapping[Id, Message], inbox: Sequence[Message], labels: Mapping[Id, str]) -> Frame:
    """The views as messages claim them: poses, points where they are sent, a view an invented sender.

    A pose that is the honest message's is the view's: payloads may come in the ego's frame. `labels` are short names
    for links, for pictures.
    """
    others: dict[Id, View] = {}
    for message in inbox:
        behind = frame.others.get(message.sender.partition("#")[0])
        pose = np.asarray(message.world_T_payload)
        if behind is None or pose.shape != (4, 4) or not np.isfinite(pose).all():
            continue
        if np.array_equal(pose, honest[behind.id].world_T_payload):
            pose = behind.world_T_sensor
        points = np.asarray(message.payload.get("points", behind.points))
        if points.ndim != 2 or points.shape[1] != 4:
            points = behind.points
        name = labels.get(message.sender, message.sender)
        others[name] = replace(behind, id=name, world_T_sensor=pose, points=points)
    return replace(frame, others=others)


# ------------------------------------------------------------------------------------------------- made once a process
@lru_cache(maxsize=8)
def _detector(name: str, root: Path | None) -> Detector:
    if not name.endswith(IN_EGO_FRAME):
        return open_detector(name, root=root)
    make: Any = getattr(open_detector(name.removesuffix(IN_EGO_FRAME), root=root), "in_ego_frame", None)
    if make is None:
        raise InputError(f"expected a detector with a form whose senders warp (`in_ego_frame`), got {name!r} without")
    made: Detector = make()
    return made


@lru_cache(maxsize=2)
def _scenario(scene: int, seed: int) -> Scenario:
    return scenario("test", scene, seed=seed)


@lru_cache(maxsize=16)
def _moment(scene: int, seed: int, index: int) -> Moment:
    snapshot = _scenario(scene, seed).snapshot(index)
    frame, truth = snapshot.frame()
    return Moment(frame, truth, snapshot.world)


@lru_cache(maxsize=64)
def _encoded(victim: str, settings: GallerySettings, index: int) -> EncodedFrame:
    return next(encode_frames([_moment(settings.scene, settings.seed, index)], _detector(victim, settings.root)))
