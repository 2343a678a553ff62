"""What one demo run does: resolved settings, written beside its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from robosac.types import InputError

# title in the table -> name of the policy (see robosac.registry.defenses.policy)
POLICIES: Final[dict[str, str]] = {
    "ego only": "ego-only",
    "no defence": "none",
    "robosac, as in paper": "paper",
    "robosac, count known": "robosac-known",
    "robosac, count unknown": "robosac",
    "oracle": "oracle",
    "all honest": "all-honest",
}


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Scenes, attack and policies of a demo.

    Attributes:
        scenes, frames: held-out scenes, and how many frames of each are judged.
        frame_step: simulated frames (at 10 Hz) from one judged frame to the next.
        seed: of scenes, attackers, attack and defence.
        preset: simulation preset.
        detector, attack: names of a shipped detector and of an attack preset.
        epsilon: budget in place of the preset's.
        attackers: how many teammates attack, a block of the table each.
        policies: rows of the table.
        pictures: scenes of which the first frame is drawn.
    """

    scenes: int = 100
    frames: int = 2
    frame_step: int = 5
    seed: int = 0
    preset: str = "mixed"
    detector: str = "mean"
    attack: str = "pgd"
    epsilon: float | None = None
    attackers: tuple[int, ...] = (0, 1, 2)
    policies: dict[str, str] = field(default_factory=lambda: dict(POLICIES))
    pictures: int = 3

    def __post_init__(self) -> None:
        for name in ("scenes", "frames", "frame_step"):
            if getattr(self, name) < 1:
                raise InputError(f"expected {name} >= 1, got {getattr(self, name)}")

    @staticmethod
    def fast(**changes: object) -> DemoSettings:
        """Few scenes: under a minute on two cores; its figures have wide intervals."""
        return DemoSettings(**{"scenes": 12, "pictures": 2, **changes})  # type: ignore[arg-type]
