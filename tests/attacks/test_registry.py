"""Attacks are listed once: by the line above each class."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from robosac import attacks
from robosac.attacks import registry
from robosac.attacks.base import Altering, Stage, Stateless
from robosac.attacks.registry import attack_kinds, kinds, register


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_KINDS", dict(kinds()))


def test_what_is_registered_is_imported_from_the_package() -> None:
    assert {name for name, kind in kinds().items() if getattr(attacks, kind.__name__) is not kind} == set()
    assert attack_kinds()["pgd"].__name__ == "Pgd" and "l2" not in attack_kinds() and "l2" in kinds()
    assert {"Pgd", "L2", "Sleeper", "load", "names"} <= set(dir(attacks))
    with pytest.raises(AttributeError, match="has no attribute 'Pdg'"):
        _ = attacks.Pdg


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match=r"expected a new name for .*Mine, got 'pgd'; .*gradient.Pgd is registered"):
        register("pgd")(type("Mine", (), {}))
    with pytest.raises(ValueError, match="got 'pgd_again'"):  # two classes of one name could not both be imported
        register("pgd_again")(type("Pgd", (), {}))
    pgd = kinds()["pgd"]
    with pytest.raises(ValueError, match="got 'pgd_again'"):  # nor has a class two names
        register("pgd_again")(pgd)
    assert register("pgd")(pgd) is pgd  # a notebook's cell that is run twice


def test_a_class_that_is_registered_is_known_at_once() -> None:
    mine = register("mine")(type("Mine", (), {}))
    assert kinds()["mine"] is mine and attacks.Mine is mine


def test_importing_the_package_opens_no_attack() -> None:
    tell = "print('torch' in sys.modules)"
    check = f"import sys, robosac.attacks as a; a.names(); {tell}; a.Pgd; {tell}"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("base", [Stateless, Altering])
def test_a_base_that_says_nothing_is_no_attack(base: type[Stateless]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Silent(base):  # type: ignore[misc,valid-type]
        STAGE: ClassVar = Stage.LINK
        BUDGET: ClassVar = "count"
        UNIT: ClassVar = "messages"
        count: int = 1

    with pytest.raises(TypeError, match="abstract"):
        Silent()
