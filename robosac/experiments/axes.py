"""The axes of an experiment: its attacks with their budgets, its defences with their trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from robosac.evaluation.play import Policy
from robosac.experiments.settings import Grid
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import defense_preset, policy
from robosac.types import InputError

NOBODY: Final = "nobody"  # the attack's name where nobody attacks


@dataclass(frozen=True)
class AttackSpec:
    """One attack of an experiment."""

    title: str  # as the grid names it
    value: Any  # attacks.base.Measured
    epsilon: float | None = None

    @property
    def label(self) -> str:
        return self.title if self.epsilon is None else f"{self.title}@{self.epsilon:g}"


@dataclass(frozen=True)
class DefenseSpec:
    """One defence of an experiment, as plain names, so that it can go to another process."""

    label: str
    name: str
    trials: int | None = None

    def policy(self) -> Policy:
        """The row of the table that it is."""
        return policy(self.name, title=self.label, trials=self.trials)


def attack_specs(grid: Grid) -> list[AttackSpec]:
    """Every attack at every budget, in the grid's order.

    Raises:
        InputError: an unknown preset or setting; says which there are.
    """
    budgets = grid.epsilon or (None,)
    return [AttackSpec(text, open_attack(text, budget=b), b) for text in grid.attack for b in budgets]


def defense_specs(grid: Grid) -> list[DefenseSpec]:
    """Every defence, and with each number of trials where it makes trials, in the grid's order.

    Raises:
        InputError: an unknown name; says which there are.
    """
    titles = grid.titles or grid.defense
    if len(titles) != len(grid.defense):
        raise InputError(f"expected a title for each of {', '.join(grid.defense)}, got {', '.join(titles)}")
    specs = []
    for name, title in zip(grid.defense, titles, strict=True):
        if defense_preset(name).makes_trials() and grid.trials:
            specs += [DefenseSpec(f"{title}@{n} trials", name, n) for n in grid.trials]
        else:
            specs.append(DefenseSpec(title, name))
    return specs
