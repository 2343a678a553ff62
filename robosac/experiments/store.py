"""What an experiment has done so far: a file for each (scene, detector, attack, number of attackers), whole or absent.

A result shard is named by a fingerprint of everything that decides it but the defences, which it holds by fingerprints
of their own. So a run that was killed goes on with what is there, an experiment that grows uses it, and a changed
setting, weight or file finds nothing. Only the process that runs the experiment reads and writes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac.evaluation.metrics import FrameRecord
from robosac.experiments import provenance
from robosac.files import write_whole
from robosac.fingerprint import Reader, fingerprint

FORMAT: Final = 3  # of shards and entries; another number finds no shards of this one


class Done(BaseModel):
    """What one defence did in one shard, or in `cannot` why it could do nothing.

    Attributes:
        records: its frames.
        seconds: spent on it, its share of the attack included.
        cpu_s: what it took of a core, whatever else the machine did meanwhile; of the first of several defences with
            the attack that they share.
        kind: what the scene shows.
        making_ms: what a frame took to be simulated or read.
        labels_left_out: frame -> records of its labels that cannot be.
        warned: what a user should know of it (`robosac.errors.RobosacWarning`).
    """

    model_config = ConfigDict(frozen=True)

    seconds: float = 0.0
    cpu_s: float = 0.0
    kind: str = ""
    making_ms: float = 0.0
    cannot: str | None = None
    records: tuple[FrameRecord, ...] = ()
    labels_left_out: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    warned: tuple[str, ...] = ()


class Shard(BaseModel):
    """One file: fingerprint of a defence -> what it did. `key` says in words what was played."""

    format: int = FORMAT
    key: dict[str, Any]
    done: dict[str, Done] = Field(default_factory=dict)


class Store:
    """The result shards in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: Mapping[str, Any]) -> Shard:
        """The shard of a key; an empty one where none was written, or where what is there cannot be read."""
        try:
            return Shard.model_validate_json(self._path(key).read_bytes())
        except (FileNotFoundError, ValidationError):
            return Shard(key=dict(key))  # never written, somebody else's, or edited: it is done again

    def add(self, key: Mapping[str, Any], done: Mapping[str, Done]) -> None:
        """Put what defences did into the shard of a key."""
        shard = self.read(key)
        shard.done |= done
        shard.done = dict(sorted(shard.done.items()))
        write_whole(self._path(key), shard.model_dump_json().encode())

    def sweep(self) -> None:
        """Remove what killed writers left behind."""
        for path in self.folder.glob(".*.json.*"):
            path.unlink(missing_ok=True)

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / f"{fingerprint(dict(key))}.json"


def shard_key(**decides: Any) -> dict[str, Any]:
    """Everything that decides a shard, versions included."""
    return {"versions": provenance.versions(), "format": FORMAT, **decides}


def defense_key(label: str, settings: Any, calibration: Any, reader: Reader) -> str:
    """Of what decides a defence's part of a shard. Its label is part of the key of its random numbers."""
    return reader.fingerprint(label, settings, calibration)
