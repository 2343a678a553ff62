"""What a frame looks like: seen from above under each policy, and trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from robosac.certificates import withstands
from robosac.evaluation.ap import counted
from robosac.evaluation.play import Played
from robosac.experiments.scenes import scene
from robosac.experiments.work import SceneTask, play_frame
from robosac.types import BevGrid, Verdict

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


def draw_scene(task: SceneTask) -> Shot:
    """Play and draw the first frame of a scene, in whichever process: only PNG bytes travel."""
    played = play_frame(task)
    return shoot(played, task.detector.open().grid, scene(task.ref, task.grid).kind)


def shoot(played: Sequence[Played], grid: BevGrid | None, kind: str) -> Shot:
    """Draw one frame under every policy."""
    from robosac.viz.bev import Picture, panel_figure
    from robosac.viz.canvas import png_bytes
    from robosac.viz.charts import agreement_figure

    frame = played[0].frame
    region = grid or 40.0
    attackers = max((p.truth.attackers for p in played), key=len)
    truth = played[0].truth
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

    def panels(shown: Sequence[Picture]) -> bytes:
        figure = panel_figure(
            frame, shown, truth_boxes=truth.boxes[seen], attackers=attackers, region=region, columns=3
        )
        return png_bytes(figure)

    trials = {
        p.policy: png_bytes(agreement_figure(p.verdict.trials, attackers=attackers, title=p.policy))
        for p in played
        if p.verdict.trials
    }
    return Shot(
        title=f"{frame.scenario}, frame {frame.index} ({kind})",
        text=f"{_names(attackers)} of {len(frame.others)} teammates attack; {int(seen.sum())} objects count as truth.",
        panels=panels(pictures),
        strip=panels([p for p in pictures if p.title in STRIP] or pictures),
        trials=trials,
        rows=[_row(p.policy, p.verdict) for p in played],
    )


def _note(p: Played) -> str:
    unit = "decode" if p.verdict.decodes == 1 else "decodes"
    found = int((p.record.matches.hits(0.5) == 1).sum())
    boxes = len(p.verdict.result)  # who shows which is drawn
    return f"{found} of {p.record.matches.n_gt} found, {boxes} boxes, {p.verdict.decodes} {unit}"


def _row(policy: str, verdict: Verdict) -> dict[str, str | int | float | None]:
    return {
        "policy": policy,
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
