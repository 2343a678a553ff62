"""The stage of a defence that verifies claimed poses: what is fine goes on, what is surely off is mended or refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from robosac.calibration import Calibration
from robosac.capabilities import Solo
from robosac.defenses.memory import forgotten
from robosac.errors import warn
from robosac.poses import FreeGround, JointCheck, PoseGain, PoseVerdict, mended
from robosac.poses.check import ELSEWHERE_LIMIT, SHIFT_LIMIT, TOLD, Kind
from robosac.types import EGO_ALONE, Id, InputError, Message, Request, Subset


@dataclass(frozen=True, eq=False)
class Checked:
    """What the stage decided.

    Attributes:
        messages: what goes on, mended or as it came.
        refused: why others do not, by sender.
        verdicts: on every teammate that was asked.
    """

    messages: tuple[Message, ...]
    refused: Mapping[Id, str]
    verdicts: Mapping[Id, PoseVerdict]

    @property
    def changed(self) -> bool:
        """Whether anything is left out or mended, so that messages are to be opened again."""
        return bool(self.refused) or any(v.kind == "corrected" for v in self.verdicts.values())

    @property
    def reason(self) -> str:
        """What was mended and refused, in words; empty where nothing was."""
        odd = [(i, v) for i, v in sorted(self.verdicts.items()) if v.kind in ("corrected", "refused")]
        return "poses: " + ", ".join(f"{i} {v.kind} ({v.why})" for i, v in odd) if odd else ""


@dataclass(frozen=True, kw_only=True)
class ClaimedPoses:
    """Rules of the stage.

    Attributes:
        check: how poses are judged.
        shift_limit, elsewhere_limit: gains of another pose that honest ones may have; None takes the calibrated ones.
        unknown: whether messages of which there is no telling are kept, for what follows to judge, or left out.
    """

    check: JointCheck = field(default_factory=JointCheck)
    shift_limit: float | None = None
    elsewhere_limit: float | None = None
    unknown: Literal["keep", "leave out"] = "keep"

    def __post_init__(self) -> None:
        if self.unknown not in ("keep", "leave out"):
            raise InputError(f"expected unknown to be 'keep' or 'leave out', got {self.unknown!r}")

    @property
    def gains(self) -> tuple[PoseGain, PoseGain]:
        """What honest frames are asked."""
        return PoseGain(where="near", check=self.check.alone), PoseGain(where="anywhere", check=self.check.alone)

    def allowed(self, calibration: Calibration | None, detector: str, *, quiet: bool = False) -> tuple[float, float]:
        """Gains near the claim and anywhere that honest messages may have; unless `quiet`, it warns of default ones."""
        given = (self.shift_limit, self.elsewhere_limit)
        usual = (SHIFT_LIMIT, ELSEWHERE_LIMIT)
        ours = calibration is not None and calibration.detector == detector
        measures = calibration.measures if calibration is not None and ours else {}
        found = []
        for limit, default, gain in zip(given, usual, self.gains, strict=True):
            if limit is not None:
                found.append(limit)
            elif gain.name in measures:
                found.append(-measures[gain.name].threshold(1))
            else:
                if not quiet:
                    warn(
                        f"{gain.name} on detector {detector!r} uses its default limit {default}: it is not calibrated; "
                        "run `robosac calibrate`"
                    )
                found.append(default)
        return found[0], found[1]

    def judged(
        self,
        session: Solo,
        detector: str,
        ground: Callable[[], FreeGround],
        calibration: Calibration | None,
        asked: Sequence[Id],
        *,
        quiet: bool = False,
    ) -> dict[Id, PoseVerdict]:
        """A verdict on the pose of each of the teammates `asked`, by what the ego and they show.

        `ground` is what the ego's rays prove to be free.
        """
        if not asked:
            return {}
        limits = self.allowed(calibration, detector, quiet=quiet)
        own = session.detect([EGO_ALONE])[0]
        shown = dict(zip(asked, session.solo(asked), strict=True))
        return self.check.judge(own, shown, {i: session.claim(i) for i in asked}, ground(), *limits)

    def sort(self, messages: Sequence[Message], verdicts: Mapping[Id, PoseVerdict], to: Request) -> Checked:
        """What goes on, mended or as it is, and why the rest does not."""
        kept: list[Message] = []
        refused: dict[Id, str] = {}
        for m in messages:
            v = verdicts.get(m.sender)
            if v is None:  # it was not asked again
                kept.append(m)
            elif v.kind == "corrected":
                kept.append(mended(m, v.offset, to.world_T_ego))
            elif v.kind == "refused" or (v.kind == "unknown" and self.unknown == "leave out"):
                refused[m.sender] = f"pose {v.kind}: {v.why}"
            else:
                kept.append(m)
        return Checked(tuple(kept), refused, verdicts)


Judge: TypeAlias = Callable[[Sequence[Id]], Mapping[Id, PoseVerdict]]


@dataclass
class PosesSoFar:
    """What a scenario remembers of poses.

    Attributes:
        said: what was, when each was last asked.
        fine: whose was fine then.
        off: whose was off when it could last be told.
        leaning: whose the ego could not tell and others mended, and on whose word; these are asked with it.
        here: who was, when anybody was last asked.
        odd: whether anybody's is not what it was when asked before.
    """

    said: dict[Id, Kind] = field(default_factory=dict)
    fine: Subset = EGO_ALONE
    off: Subset = EGO_ALONE
    leaning: Mapping[Id, Subset] = field(default_factory=dict)
    here: Subset = EGO_ALONE
    odd: bool = False

    def doubtful(self, ids: Sequence[Id], rng: np.random.Generator) -> Subset:
        """Whose pose was not fine, who was away meanwhile, and one more, drawn at random."""
        known = self.fine & self.here
        fine = [i for i in ids if i in known]
        drawn = {fine[int(rng.integers(len(fine)))]} if fine else set()
        return frozenset(ids) - known | drawn

    def ask(self, ids: Sequence[Id], again: Collection[Id], judge: Judge) -> dict[Id, PoseVerdict]:
        """Verdicts on whom to ask `again` and on who leans on the word of others, and on everybody where one of these
        is not fine, or mended, any more. Whose pose the ego saw to be off is not trusted again before it is fine."""
        leaning = {i: by for i, by in self.leaning.items() if i in ids}
        found = judge([i for i in ids if i in frozenset(again).union(leaning, *leaning.values())])
        not_fine = {i for i, v in found.items() if v.kind != "fine"}
        if not_fine & self.fine or any(found[i].kind not in TOLD for i in leaning):
            found = judge(ids)
        self.leaning = {i: v.witnesses for i, v in found.items() if v.kind == "corrected" and v.hearsay}
        self.fine -= frozenset(found)
        self.fine |= {i for i, v in found.items() if v.kind == "fine"}
        doubted = {i: v for i, v in found.items() if v.kind == "unknown" and i in self.off}
        self.off -= self.fine
        self.off |= {i for i, v in found.items() if v.kind in ("corrected", "refused") and not v.hearsay}
        verdicts = {**found, **{i: _doubted(v) for i, v in doubted.items()}}
        kinds = {i: v.kind for i, v in verdicts.items()}
        self.odd = any(self.said.get(i) != kind for i, kind in kinds.items())
        self.said |= kinds
        self.here = frozenset(ids)
        for i in forgotten(self.said, ids):
            del self.said[i]
            self.fine, self.off = self.fine - {i}, self.off - {i}
        return verdicts


def _doubted(verdict: PoseVerdict) -> PoseVerdict:
    return replace(verdict, kind="refused", why=f"{verdict.why}, and off before")
