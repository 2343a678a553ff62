"""The axes of an experiment: its attacks with their budgets, its defences with their trials."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import yaml

from robosac.config import FIXED, PLANS, defense_names, defense_preset, policy
from robosac.evaluation.play import Policy
from robosac.experiments.settings import Grid
from robosac.gate import Gate
from robosac.types import InputError

NOBODY: Final = "nobody"  # the attack's name where nobody attacks


@dataclasses.dataclass(frozen=True)
class AttackSpec:
    """One attack of an experiment."""

    title: str  # as the grid names it
    value: Any  # attacks.base.Measured
    epsilon: float | None = None

    @property
    def label(self) -> str:
        return self.title if self.epsilon is None else f"{self.title}@{self.epsilon:g}"


@dataclasses.dataclass(frozen=True)
class DefenseSpec:
    """One defence of an experiment, as plain names, so that it can go to another process."""

    label: str
    name: str
    trials: int | None = None

    def policy(self, gate: Gate | None = None) -> Policy:
        """The row of the table that it is."""
        if self.trials is None:
            return dataclasses.replace(policy(self.name, title=self.label), gate=gate)
        preset = defense_preset(self.name)
        preset = preset.model_copy(update={"plan": {**preset.plan, "budget": self.trials}})
        return Policy(self.label, preset.build, gate=gate)


def attack_specs(grid: Grid) -> list[AttackSpec]:
    """Every attack at every budget, in the grid's order.

    Raises:
        InputError: an unknown preset or setting; says which there are.
    """
    from robosac import attacks

    specs = []
    for text in grid.attack:
        name, _, rest = text.partition(":")
        value = attacks.load(name, **_settings(text, rest))
        if grid.epsilon:
            specs += [AttackSpec(text, _with_budget(text, value, e), e) for e in grid.epsilon]
        else:
            specs.append(AttackSpec(text, value))
    return specs


def _with_budget(text: str, value: Any, budget: float) -> Any:
    try:
        return value.with_budget(budget)
    except InputError as error:
        raise InputError(f"--epsilon {budget:g} is no budget of {text} ({value.unit}): {error}") from error


def _settings(text: str, rest: str) -> dict[str, Any]:
    settings = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InputError(f"expected an attack like pgd or pgd:steps=5,epsilon=0.1, got {text!r}")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"expected the value of {key} in {text!r} to be plain, got {value!r}") from error
    return settings


def defense_specs(grid: Grid) -> list[DefenseSpec]:
    """Every defence, and with each number of trials where it makes trials, in the grid's order.

    Raises:
        InputError: an unknown name; says which there are.
    """
    specs = []
    titles = grid.titles or grid.defense
    if len(titles) != len(grid.defense):
        raise InputError(f"expected a title for each of {', '.join(grid.defense)}, got {', '.join(titles)}")
    for name, title in zip(grid.defense, titles, strict=True):
        if name not in FIXED and name not in defense_names():
            raise InputError(f"expected a defence, one of {', '.join([*FIXED, *defense_names()])}; got {name!r}")
        if grid.trials and _makes_trials(name):
            specs += [DefenseSpec(f"{title}@{n} trials", name, n) for n in grid.trials]
        else:
            specs.append(DefenseSpec(title, name))
    return specs


def _makes_trials(name: str) -> bool:
    if name in FIXED:
        return False
    plan = PLANS.get(str(defense_preset(name).plan.get("kind")))
    return plan is not None and any(f.name == "budget" for f in dataclasses.fields(plan))
