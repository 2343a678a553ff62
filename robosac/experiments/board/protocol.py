"""The board's protocol: what is played, frozen in a file, with a hash that every entry carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac import plain_yaml
from robosac.experiments.scenes import described
from robosac.experiments.settings import Grid
from robosac.fingerprint import fingerprint
from robosac.registry.attacks import open_attack
from robosac.registry.settings import CONFIGS, plain
from robosac.types import InputError

SHIPPED: Final = CONFIGS / "benchmarks" / "board.yaml"
UNDEFENDED: Final = "none"
EGO_ONLY: Final = "ego-only"
ALL_HONEST: Final = "all-honest"
OBLIGATORY: Final = (EGO_ONLY, UNDEFENDED, "oracle", ALL_HONEST)
HASH_DIGITS: Final = 12
Kind = Literal["ignorant", "adaptive"]
KINDS: Final[tuple[Kind, ...]] = ("ignorant", "adaptive")


class Protocol(BaseModel):
    """A file like `configs/benchmarks/board.yaml`.

    Attributes:
        name, version: what entries are called by.
        dataset, split, seed, frames, frame_step: which scenes, as in `robosac evaluate`.
        detectors: each with rows of its own.
        attackers: how many of a scene's teammates attack; 0 is played once.
        scenes, adaptive_scenes: how many stand behind a figure of a complete entry.
        ignorant: attacks made once and handed to every defence.
        adaptive: attacks that are made anew against each defence.
        reference: rows that are no defence: what to compare with.
        tolerance: of AP@0.5, where an entry is checked.
        defenses: who is on the board. Not part of the hash.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    version: int = Field(ge=1)
    dataset: str
    split: Literal["val", "calibration", "test"] = "test"
    seed: int = Field(ge=0)
    frames: int = Field(ge=1)
    frame_step: int = Field(ge=1)
    detectors: tuple[str, ...] = Field(min_length=1)
    attackers: tuple[int, ...] = Field(min_length=1)
    scenes: int = Field(ge=1)
    adaptive_scenes: int = Field(ge=0)
    ignorant: tuple[str, ...] = Field(min_length=1)
    adaptive: tuple[str, ...] = ()
    reference: tuple[str, ...] = OBLIGATORY
    tolerance: float = Field(gt=0, lt=1)
    defenses: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Of all that decides a figure: the file without its defences, and the settings that its names stand for."""
        held = self.model_dump(mode="json", exclude={"defenses"})
        spelled = {name: plain(open_attack(name)) for name in (*self.ignorant, *self.adaptive)}
        return fingerprint(held, spelled, described(self.dataset, self.grid("ignorant", self.detectors[0], ())))[
            :HASH_DIGITS
        ]

    def scenes_of(self, kind: Kind) -> int:
        """How many a complete entry has behind figures of this kind of attack."""
        return self.scenes if kind == "ignorant" else self.adaptive_scenes

    def kind_of(self, attack: str) -> Kind:
        """Which kind an attack is of."""
        return "adaptive" if attack in self.adaptive else "ignorant"

    def rows(self, defenses: Sequence[str] | None = None) -> tuple[str, ...]:
        """Every row that is played beside these defences (None: all of the board's): the reference first."""
        return tuple(dict.fromkeys((*self.reference, *(self.defenses if defenses is None else defenses))))

    def meets(self, row: str, kind: Kind) -> bool:
        """Whether a row is played under attacks of this kind: one that no attack moves is not attacked anew, only who
        defends, and who trusts everybody."""
        return kind == "ignorant" or row not in self.reference or row == UNDEFENDED

    def cells(self) -> list[tuple[str, int]]:
        """Every (attack, attackers) of a complete entry; the one without attackers has no attack."""
        nobody = [("", 0)] if 0 in self.attackers else []
        return nobody + [(a, m) for a in (*self.ignorant, *self.adaptive) for m in self.attackers if m]

    def grid(
        self,
        kind: Kind,
        detector: str,
        defenses: Sequence[str],
        *,
        scenes: int | None = None,
        attacks: Sequence[str] | None = None,
        attackers: Sequence[int] | None = None,
    ) -> Grid:
        """The experiment of one kind of attacks on one detector; of all of its scenes unless fewer are asked for."""
        own = self.ignorant if kind == "ignorant" else self.adaptive
        counts = tuple(m for m in (self.attackers if attackers is None else attackers) if m or kind == "ignorant")
        most = self.scenes_of(kind)
        return Grid(
            dataset=(self.dataset,),
            detector=(detector,),
            attack=tuple(a for a in own if attacks is None or a in attacks) or own[:1],
            attackers=counts,
            defense=tuple(defenses) or (EGO_ONLY,),
            seed=self.seed,
            split=self.split,
            scenes=most if scenes is None else min(scenes, most),
            frames=self.frames,
            frame_step=self.frame_step,
        )


def read_protocol(path: Path = SHIPPED) -> Protocol:
    """The protocol of a file.

    Raises:
        InputError: it is none, or leaves out an obligatory row; says which.
    """
    held: Any = plain_yaml.read(path)
    if not isinstance(held, dict):
        raise InputError(f"expected {path} to be a protocol of the board, got {type(held).__name__}")
    lists = {k: tuple(v) if isinstance(v, list) else v for k, v in held.items()}
    try:
        found = Protocol.model_validate(lists)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"expected {path} to be a protocol of the board; {where}: {first['msg']}") from None
    if lacking := [row for row in OBLIGATORY if row not in found.reference]:
        raise InputError(f"expected {path} to have the rows {', '.join(OBLIGATORY)}, got none for {', '.join(lacking)}")
    if both := set(found.ignorant) & set(found.adaptive):
        raise InputError(f"expected each attack of {path} to be ignorant or adaptive, got {sorted(both)} in both")
    return found
