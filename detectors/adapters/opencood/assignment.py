"""HEAL's assignment file: which agent of which scenario is of which kind (m1, m2, ...), `heter.assignment_path`.

HEAL asks by scenario and agent; what an agent sends depends here on its name alone. In the files that HEAL publishes
nearly every name has one kind in all scenarios. One that has several is refused when it is to be encoded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from robosac.detectors.adapters.opencood.batch import Hypes
from robosac.types import Id, InputError

_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Assignment:
    """Kinds of agents by name, and why others have none."""

    kinds: Mapping[Id, str] = field(default_factory=dict)
    unclear: Mapping[Id, str] = field(default_factory=dict)

    def check(self, agent: Id) -> None:
        """Raises `InputError` for an agent whose kind is not known from its name."""
        if agent in self.unclear:
            raise InputError(
                f"expected one kind of agent {agent!r}, {self.unclear[agent]}; let HEAL read the data "
                f"(framework:FOLDER), or say it: OpenCOODDetector.from_folder(..., modalities={{{agent!r}: ...}})"
            )


def read_assignment(hypes: Hypes, known: Sequence[str], places: Sequence[Path]) -> Assignment | None:
    """What the file of a configuration says, by its own `mapping_dict`; None where it names none, or none is there.

    Args:
        known: the kinds that the model has a LiDAR encoder for.
        places: folders that the file's path may be relative to; HEAL itself is run in its checkout.

    Raises:
        InputError: if the file, or `mapping_dict`, is not of that form.
    """
    heter = hypes.get("heter")
    if not isinstance(heter, Mapping):
        return None
    named = heter.get("assignment_path")
    if not isinstance(named, str) or not known:
        return None
    path = next((p for place in places if (p := place / named).is_file()), None)
    if path is None:
        return None
    mapping = heter.get("mapping_dict") or {}
    if not isinstance(mapping, Mapping):
        raise InputError(f"expected heter.mapping_dict to map kinds to kinds, like {{m2: m1}}, got {mapping!r:.60}")
    said: dict[Id, dict[str, str]] = {}  # agent -> kind -> a scenario where it is of it
    for scenario, agents in _read(path).items():
        for agent, kind in agents.items():
            said.setdefault(agent, {}).setdefault(str(mapping.get(kind, kind)), scenario)
    unclear = {a: f"{path} says {_listed(kinds)}" for a, kinds in said.items() if len(kinds) > 1}
    single = {a: next(iter(kinds)) for a, kinds in said.items() if a not in unclear}
    foreign = {
        a: f"{path} says {kind}, which is no LiDAR encoder of this model ({', '.join(known)})"
        for a, kind in single.items()
        if kind not in known
    }
    return Assignment({a: k for a, k in single.items() if a not in foreign}, {**unclear, **foreign})


def _listed(kinds: Mapping[str, str]) -> str:
    return " and ".join(f"{kind} in {scenario}" for kind, scenario in sorted(kinds.items()))


def _read(path: Path) -> dict[str, dict[Id, str]]:
    wanted = f"expected {path} to hold a kind of each agent of each scenario, like {{scenario: {{agent: m1}}}}"
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{wanted}, got {path.stat().st_size:,} bytes")
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{wanted}, got {error}") from error
    if not isinstance(held, dict) or not all(
        isinstance(agents, dict) and all(isinstance(kind, str) for kind in agents.values()) for agents in held.values()
    ):
        raise InputError(f"{wanted}, got something else")
    return held
