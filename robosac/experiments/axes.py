"""The axes of an experiment: its attacks with their budgets, its defences with their trials."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from robosac.evaluation.play import Policy
from robosac.experiments.settings import Grid
from robosac.feature_scale import UNIT, Amount, in_words
from robosac.registry.attacks import in_multiples, open_attack
from robosac.registry.defenses import named_defense, policy
from robosac.types import InputError

NOBODY: Final = "nobody"  # the attack's name where nobody attacks


@dataclass(frozen=True)
class AttackSpec:
    """One attack of an experiment.

    Attributes:
        title: as the grid names it.
        value: `robosac.attacks.base.Measured`.
        epsilon: the budget in place of its own, where the grid names budgets.
        std: what 1sd is, where settings were given as multiples of it; None before `fitted`, and where none were.
        stated: `value` before, with its multiples.
    """

    title: str
    value: Any
    epsilon: Amount | None = None
    std: float | None = None
    stated: Any = None

    @property
    def label(self) -> str:
        return self.title if self.epsilon is None else f"{self.title}@{in_words(self.epsilon)}"

    @property
    def multiples(self) -> list[str]:
        """The multiples of a standard deviation among its settings, as they were given."""
        return in_multiples(self.stated if self.std is not None else self.value)

    @property
    def scale(self) -> str:
        """What its multiples are in numbers, in words; nothing where it has none."""
        if self.std is None:
            return ""
        stated = self.stated.budget
        unit = f"1{UNIT}"
        own = f"{stated} = {self.value.budget:g}, " if isinstance(stated, str) and stated != unit else ""
        return f"{own}{unit} = {self.std:g}"

    def fitted(self, std: float) -> AttackSpec:
        """With numbers in place of its multiples."""
        return replace(self, value=self.value.scaled(std), std=std, stated=self.value) if self.multiples else self


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
        if named_defense(name).makes_trials() and grid.trials:
            specs += [DefenseSpec(f"{title}@{n} trials", name, n) for n in grid.trials]
        else:
            specs.append(DefenseSpec(title, name))
    return specs
