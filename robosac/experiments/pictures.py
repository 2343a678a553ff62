"""What a frame looks like: seen from above under each policy, and trial by trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from robosac.certificates import withstands
from robosac.evaluation.ap import average_precision, counted
from robosac.evaluation.play import Played
from robosac.experiments.scenes import scene
from robosac.experiments.work import SceneTask, play_frames
from robosac.types import BevGrid, Subset, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REGION_M: Final = 40.0  # drawn around the ego where a detector has no grid
STRIP: Final = ("ego only", "no defence", "robosac, count unknown")


@dataclass(frozen=True, eq=False)
class Shot:
    """Pictures of one frame as PNG bytes, and the verdicts in words."""

    title: str
    text: str
    panels: bytes
    strip: bytes  # the ego alone, nobody checks, robosac
    trials: dict[str, bytes]  # policy -> agreement of each of its trials
    rows: list[dict[str, str | int | float | None]]  # policy -> who was used, accused, and why


@dataclass(frozen=True)
class PictureTask:
    """A scene of which some frames are drawn; `why` says what each is, by its place in the scene."""

    task: SceneTask
    why: Mapping[int, str]

    def parcels(self) -> dict[str, Callable[[], Any]]:
        """What another machine may lack."""
        return self.task.parcels()


def draw_frames(asked: PictureTask) -> dict[int, Shot]:
    """Play a scene and draw frames of it, in whichever process: only PNG bytes travel."""
    task, grid = asked.task, asked.task.detector.open().grid
    kind = scene(task.ref, task.grid).kind
    attack = task.wanted[0].block.title
    return {
        at: shoot(played, grid, kind, text=f"{asked.why[at]}, under {attack}." if asked.why[at] else "")
        for at, played in play_frames(task, asked.why).items()
    }


def shoot(played: Sequence[Played], grid: BevGrid | None, kind: str, *, text: str = "") -> Shot:
    """Draw one frame under every policy; `text` says first what it is."""
    from robosac.viz.canvas import png_bytes
    from robosac.viz.charts import agreement_figure

    frame, attackers = played[0].frame, _attackers(played)
    seen = int(counted(played[0].truth, grid or REGION_M, agents=(frame.ego.id, *frame.others)).sum())
    attack = f"Of {len(frame.others)} teammates {_names(attackers)} {'attack' if len(attackers) > 1 else 'attacks'}"
    trials = {
        p.policy: png_bytes(agreement_figure(p.verdict.trials, attackers=attackers, title=p.policy))
        for p in played
        if p.verdict.trials
    }
    strip = [p for p in played if p.policy in STRIP] or played
    return Shot(
        title=f"{frame.scenario}, frame {frame.index} ({kind})",
        text=f"{text} {attack}; {seen} objects count as truth.".strip(),
        panels=png_bytes(frame_figure(played, grid)),
        strip=png_bytes(frame_figure(strip, grid)),
        trials=trials,
        rows=[_row(p) for p in played],
    )


def frame_figure(played: Sequence[Played], grid: BevGrid | None) -> Figure:
    """One frame from above, one policy beside another."""
    from robosac.viz.bev import Picture, panel_figure

    frame, truth, attackers = played[0].frame, played[0].truth, _attackers(played)
    region = grid or REGION_M
    seen = counted(truth, region, agents=(frame.ego.id, *frame.others))
    pictures = [
        Picture(
            title=p.policy,
            detections=p.verdict.result,
            used=p.verdict.used,
            accused=p.verdict.accused,
            hits=p.record.matches.hits(0.5),
            note=_note(p),
            filled=p.verdict.corroborated if p.verdict.support else None,
            thick=None if p.verdict.certificates is None else withstands(p.verdict.certificates, 1),
        )
        for p in played
        if p.truth.attackers == attackers  # where nobody attacks, the picture would mark honest teammates as attackers
    ]
    return panel_figure(frame, pictures, truth_boxes=truth.boxes[seen], attackers=attackers, region=region, columns=3)


def _attackers(played: Sequence[Played]) -> Subset:
    return max((p.truth.attackers for p in played), key=len)


def _note(p: Played) -> str:
    unit = "decode" if p.verdict.decodes == 1 else "decodes"
    found = int((p.record.matches.hits(0.5) == 1).sum())
    boxes = len(p.verdict.result)  # who shows which is drawn
    return f"{found} of {p.record.matches.n_gt} found, {boxes} boxes, {p.verdict.decodes} {unit}"


def _row(p: Played) -> dict[str, str | int | float | None]:
    verdict = p.verdict
    return {
        "policy": p.policy,
        "ap50": average_precision([p.record.matches])[0.5],
        "used": _names(verdict.used),
        "accused": _names(verdict.accused),
        "trials": len(verdict.trials),
        **_support(verdict),
        "reason": verdict.reason,
    }


def _support(verdict: Verdict) -> dict[str, str]:
    """How many boxes are corroborated, and how many 1 and 2 attackers cannot have invented, of how many."""
    told, boxes = verdict.certificates, len(verdict.result)
    corroborated = f"{int(verdict.corroborated.sum())} of {boxes}" if verdict.support else "–"
    certified = "–" if told is None else " / ".join(str(int(withstands(told, m).sum())) for m in (1, 2))
    return {"corroborated boxes": corroborated, "certified at 1 / 2": certified}


def _names(ids: frozenset[str]) -> str:
    return ", ".join(sorted(ids)) if ids else "nobody"
