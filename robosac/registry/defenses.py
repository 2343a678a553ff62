"""Defences by name: a preset is a file of `configs/defenses` that names a kind and its settings.

    kind: robosac                    one of DEFENSES, or of EVALUATION_ALONE
    source: where these settings come from
    plan: {kind: known, budget: 32}  the kind's settings; a part that is itself of a kind is one of PARTS

A new kind is a class with `start` (`robosac.defenses.protocol.Defense`) and a line in DEFENSES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac import plain_yaml
from robosac.agreement import BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.building import made, pick, settings_of
from robosac.calibration import Statistic, WithEgo
from robosac.certificates import Nearby, Overlap
from robosac.defenses import (
    Certified,
    EgoOnly,
    Known,
    NoDefense,
    PaperKnown,
    PaperUnknown,
    PoseChecked,
    Robosac,
    RobosacAgreement,
    Unknown,
)
from robosac.defenses import rivals as rival
from robosac.defenses.claimed_poses import ClaimedPoses
from robosac.defenses.protocol import Calibrated, Defense
from robosac.defenses.ranking import Ranking
from robosac.errors import did_you_mean
from robosac.evaluation.play import Policy, all_honest, oracle
from robosac.fingerprint import code_files, fingerprint
from robosac.registry.own import own
from robosac.registry.settings import CONFIGS
from robosac.types import InputError

FOLDER: Final = CONFIGS / "defenses"
RIVALS: Final[Mapping[str, type[Any]]] = {  # published by others; what they ask of honest frames is made on request
    "temporal-reference": rival.TemporalReference,
    "fixed-attackers": rival.FixedAttackers,
    "halving": rival.Halving,
    "adaptive-halving": rival.AdaptiveHalving,
    "made": rival.Made,
    "feature-similarity": rival.FeatureSimilarity,
    "occupancy": rival.Occupancy,
    "gcp": rival.SpatialTemporal,
    "late-votes": rival.LateVotes,
    "two-groups": rival.TwoGroups,
    "critical-object": rival.CriticalObject,
    "residual-classifier": rival.ResidualClassifier,
    "single-check": rival.SingleCheck,
    "robust-features": rival.RobustFeatures,
}
DEFENSES: Final[dict[str, type[Any]]] = {
    "robosac": Robosac,
    "robosac-agreement": RobosacAgreement,
    "certified": Certified,
    "pose-checked": PoseChecked,
    "none": NoDefense,
    "ego-only": EgoOnly,
    **RIVALS,
}
PARTS: Final[Mapping[str, Mapping[str, type[Any]]]] = {  # name of a setting -> kinds of what it holds
    "plan": {"known": Known, "unknown": Unknown, "paper_known": PaperKnown, "paper_unknown": PaperUnknown},
    "inner": {"robosac": Robosac, "robosac-agreement": RobosacAgreement, "none": NoDefense},
    "agreement": {"box_jaccard": BoxJaccard, "score_map": ScoreMapOverlap, "seen_score_map": SeenScoreMap},
    "poses": {"claimed": ClaimedPoses},
    "ranking": {"support": Ranking},
    "tolerance": {"overlap": Overlap, "nearby": Nearby},
}
EVALUATION_ALONE: Final[Mapping[str, Callable[[], Policy]]] = {"oracle": oracle, "all-honest": all_honest}


class DefensePreset(BaseModel):
    """One file of `configs/defenses`; what it holds besides these are the kind's settings.

    Attributes:
        kind: one of `DEFENSES`, or of `EVALUATION_ALONE`: those need what only evaluation knows.
        source: where the settings come from.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    kind: str
    source: str = Field(min_length=10)

    def build(self, n_attackers: int | None = None, *, trials: int | None = None) -> Defense:
        """The defence.

        Args:
            n_attackers: goes to whatever has a setting `attackers` that the preset leaves open.
            trials: a frame at most, in place of the preset's `budget`, where it has one.

        Raises:
            InputError: a kind or setting means nothing, or the number of attackers is needed.
        """
        if self.kind in EVALUATION_ALONE:
            raise InputError(
                f"expected a defence, got {self.kind}, which needs to know who attacks: evaluation alone does"
            )
        given = dict(self.model_extra or {})
        parts = {name: self._part(name, given.pop(name), n_attackers, trials) for name in PARTS if name in given}
        kind = pick("defence to have a `kind`,", DEFENSES, self.kind)
        made_of = {**given, **parts, **self._told(kind, given, n_attackers, trials)}
        defense: Defense = made(self.kind, kind, made_of)
        return defense

    def makes_trials(self) -> bool:
        """Whether it has a budget of trials that can be replaced."""
        plan = (self.model_extra or {}).get("plan")
        held = [DEFENSES.get(self.kind), PARTS["plan"].get(str(plan.get("kind"))) if isinstance(plan, dict) else None]
        return any("budget" in settings_of(kind) for kind in held if kind is not None)

    def _part(self, name: str, value: Any, n_attackers: int | None, trials: int | None) -> Any:
        if not isinstance(value, dict):
            raise InputError(f"expected {name} to be a mapping with a `kind`, got {value!r}")
        settings = {k: v for k, v in value.items() if k != "kind"}
        settings |= {k: self._part(k, v, n_attackers, trials) for k, v in settings.items() if k in PARTS}
        kind = pick(f"{name} to have a `kind`,", PARTS[name], value.get("kind"))
        return made(str(value["kind"]), kind, {**settings, **self._told(kind, settings, n_attackers, trials)})

    def _told(
        self, kind: type[Any], settings: Mapping[str, Any], n_attackers: int | None, trials: int | None
    ) -> dict[str, int]:
        """What is known at run time only: the number of attackers, and a budget in place of the preset's."""
        told = {"budget": trials} if trials is not None and "budget" in settings_of(kind) else {}
        if "attackers" in settings_of(kind) and not {"attackers", "ratio"} & set(settings):
            if n_attackers is None:
                raise InputError(
                    f"{kind.__name__} is told the number of attackers; give it, as in robosac.wrap(detector, NAME, "
                    "attackers=2), or take robosac or paper-probing"
                )
            told["attackers"] = n_attackers
        return told


@dataclass(frozen=True)
class OwnDefense:
    """A defence of one's own, by the name MODULE:NAME; opened anew for each scenario, in every process."""

    kind: str
    source: str = "the user's own"

    def build(self, n_attackers: int | None = None, *, trials: int | None = None) -> Defense:
        """The defence; it is told nothing.

        Raises:
            InputError: the name leads to nothing, or to something that is no defence.
        """
        found = own(self.kind, lambda it: hasattr(it, "start") and not isinstance(it, type))
        if not callable(getattr(found, "start", None)):
            raise InputError(
                f"expected {self.kind} to be a defence (start; CONTRIBUTING.md) or to make one, "
                f"got {type(found).__name__}"
            )
        made: Defense = found
        return made

    def makes_trials(self) -> bool:
        """Whether it has a budget of trials that can be replaced."""
        return False

    def content(self) -> str:
        """Of its settings and of its module's code with all that it imports from beside it."""
        module = self.kind.partition(":")[0]
        return fingerprint(self.build(), [[path.name, path] for path in code_files(module)])


def defense_names() -> list[str]:
    """Presets of defences there are."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def named_defense(name: str) -> DefensePreset | OwnDefense:
    """A preset, or one's own as MODULE:NAME. InputError where there is none or its file is wrong."""
    return OwnDefense(name) if ":" in name else defense_preset(name)


def defense_preset(name: str) -> DefensePreset:
    """Read and check a preset of `configs/defenses`. InputError where there is none or its file is wrong."""
    if name not in defense_names():
        known = defense_names()
        raise InputError(
            f"expected a defence, one of {', '.join(known)}, or MODULE:NAME; got {name!r}{did_you_mean(name, known)}"
        )
    path = FOLDER / f"{name}.yaml"
    try:
        return DefensePreset.model_validate(plain_yaml.read(path))
    except ValidationError as error:
        raise InputError(f"expected {path.name} to be a defence preset: {error}") from None


def rival_names() -> list[str]:
    """The presets of defences that others published."""
    return [name for name in defense_names() if defense_preset(name).kind in RIVALS]


def described(name: str) -> dict[str, Any]:
    """All there is to say of a preset, as plain data; what it does is its file's first comment."""
    found = defense_preset(name)
    first = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    if found.kind in EVALUATION_ALONE:
        told = "who attacks" if EVALUATION_ALONE[found.kind]().told_attackers else "nobody attacks"
    else:
        told = "how many attack" if _needs_count(found) else "nothing"
    return {
        "name": name,
        "about": first.lstrip("# ").rstrip(".") if first.startswith("#") else "",
        "told": told,
        "kind": found.kind,
        "source": " ".join(found.source.split()),
        "settings": dict(found.model_extra or {}),
    }


def _needs_count(preset: DefensePreset) -> bool:
    try:
        preset.build()
    except InputError:
        return True
    return False


def open_defense(name: str, *, attackers: int | None = None) -> Defense:
    """The defence of a preset; `attackers` goes to those that are told how many there are.

    Raises:
        InputError: there is no such preset, or evaluation alone can make it.
    """
    return named_defense(name).build(attackers)


def is_told(name: str) -> bool:
    """Whether a preset's defence is told how many attack."""
    try:
        named_defense(name).build(None)
    except InputError:
        return True
    return False


def statistics_of(names: Sequence[str] = ()) -> list[Statistic]:
    """What the defences of these presets ask of honest frames, each once; without a name, every preset of ours
    and every measure of agreement; rivals are asked by name.
    """
    asked: dict[str, Statistic] = {}
    if not names:
        asked |= {s.name: s for s in (WithEgo(measure()) for measure in PARTS["agreement"].values())}
        names = [n for n in defense_names() if defense_preset(n).kind not in {*EVALUATION_ALONE, *RIVALS}]
    for name in names:
        defense = open_defense(name, attackers=1)
        asked |= {s.name: s for s in (defense.statistics() if isinstance(defense, Calibrated) else ())}
    return list(asked.values())


def policy(name: str, *, title: str | None = None, trials: int | None = None) -> Policy:
    """A row of a table, by the name of a preset.

    Args:
        name: of a preset.
        title: what the row is called, and the key of its random numbers; left out, the name.
        trials: a frame at most, in place of the preset's.

    Raises:
        InputError: there is no such preset.
    """
    preset = named_defense(name)
    if preset.kind in EVALUATION_ALONE:
        return replace(EVALUATION_ALONE[preset.kind](), name=title or name)
    return Policy(title or name, partial(preset.build, trials=trials), foreign=isinstance(preset, OwnDefense))
