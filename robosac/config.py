"""Names from outside: presets of defences in `configs/defenses`, rows of a table by name, settings as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from robosac.agreement import BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.defenses import EgoOnly, Known, NoDefense, PaperKnown, PaperUnknown, Robosac, Unknown
from robosac.defenses.protocol import Defense
from robosac.evaluation.play import Policy, all_honest, oracle
from robosac.types import InputError

PLANS: Final[Mapping[str, type[Any]]] = {
    "known": Known,
    "unknown": Unknown,
    "paper_known": PaperKnown,
    "paper_unknown": PaperUnknown,
}
AGREEMENTS: Final[Mapping[str, type[Any]]] = {
    "box_jaccard": BoxJaccard,
    "score_map": ScoreMapOverlap,
    "seen_score_map": SeenScoreMap,
}
TOLD_THE_COUNT: Final = (Known, PaperKnown)
FIXED: Final = {"ego only": EgoOnly, "no defence": NoDefense}


class DefensePreset(BaseModel):
    """One file of `configs/defenses`.

    Attributes:
        source: where the settings come from.
        plan: `kind` (one of `PLANS`) and its settings; plans that are told the number of attackers get it at run time.
        agreement: `kind` (one of `AGREEMENTS`) and its settings.
        threshold: agreement asked for; left out, the calibrated one.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    source: str = Field(min_length=10)
    plan: dict[str, JsonValue]
    agreement: dict[str, JsonValue]
    threshold: float | None = None

    def build(self, n_attackers: int | None = None) -> Robosac:
        """The defence; `n_attackers` goes to plans that are told it."""
        told: dict[str, Any] = {}
        if PLANS.get(str(self.plan.get("kind"))) in TOLD_THE_COUNT:
            if n_attackers is None:
                raise InputError(f"plan {self.plan['kind']!r} is told the number of attackers; give it")
            told = {"attackers": n_attackers}
        return Robosac(
            plan=_make("plan", PLANS, self.plan, **told),
            agreement=_make("agreement", AGREEMENTS, self.agreement),
            threshold=self.threshold,
        )


def configs_folder() -> Path:
    """Where the presets lie: inside an installed package, or at the root of a checkout."""
    here = Path(__file__).parent
    return next(p for p in (here / "configs", here.parent / "configs", here) if (p / "defenses").is_dir())


def defense_names() -> list[str]:
    """Presets of defences there are."""
    return sorted(p.stem for p in (configs_folder() / "defenses").glob("*.yaml"))


def defense_preset(name: str) -> DefensePreset:
    """Read and check a preset of `configs/defenses`. InputError where there is none or its file is wrong."""
    if name not in defense_names():
        raise InputError(f"expected a defence, one of {', '.join([*FIXED, *defense_names()])}; got {name!r}")
    path = configs_folder() / "defenses" / f"{name}.yaml"
    try:
        return DefensePreset.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError) as error:
        raise InputError(f"expected {path.name} to be a defence preset: {error}") from None


def policy(name: str, *, title: str | None = None) -> Policy:
    """A row of the table by name: `ego only`, `no defence`, `oracle`, `all honest`, or a preset of a defence."""
    if name in ("oracle", "all honest"):
        made = oracle() if name == "oracle" else all_honest()
        return dataclasses.replace(made, name=title or name)
    if name in FIXED:
        fixed: Defense = FIXED[name]()
        return Policy(title or name, lambda m: fixed)
    return Policy(title or name, defense_preset(name).build)


def _make(what: str, known: Mapping[str, type[Any]], settings: Mapping[str, Any], **told: Any) -> Any:
    kind = str(settings.get("kind"))
    if kind not in known:
        raise InputError(f"expected {what} to have a `kind`, one of {', '.join(known)}; got {kind!r}")
    rest = {k: v for k, v in settings.items() if k != "kind"}
    names = {f.name for f in dataclasses.fields(known[kind])}
    if unknown := set(rest) - names:
        raise InputError(f"expected settings of {kind} among {sorted(names)}, got {sorted(unknown)}")
    return known[kind](**rest, **told)


def plain(value: Any) -> Any:
    """Settings as plain JSON data, with the class names, to be written beside a result."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (frozenset, set)):
        return sorted(plain(v) for v in value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
