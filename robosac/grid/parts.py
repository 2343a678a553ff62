"""What a grid has done so far: one small file for each (scene, detector, attack, number of attackers), whole or absent.

A part is named by a digest of everything that decides it but the defences, which it holds by digests of their own. So a
run that was killed goes on with what is there, a grid that grows uses it, and a changed setting finds nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from robosac.demo.run import environment
from robosac.evaluation.metrics import FrameRecord
from robosac.files import write_whole
from robosac.types import Detector

FORMAT: Final = 1  # of parts and entries; another number finds no parts of this one


def digest(value: Any) -> str:
    """A short name for plain JSON data: equal data, equal name."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def detector_digest(detector: Detector) -> str:
    """Of a detector's weights, whatever framework they come from; of its name and class where it has none."""
    import torch

    found = hashlib.sha256(f"{detector.name} {type(detector).__qualname__}".encode())
    held = sorted((k, v) for k, v in getattr(detector, "__dict__", {}).items() if isinstance(v, torch.nn.Module))
    for name, module in held:
        for key, tensor in sorted(module.state_dict().items()):
            found.update(f"{name}.{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
            plain = tensor.detach().cpu().reshape(-1)
            found.update((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy().tobytes())
    return found.hexdigest()[:20]


@dataclass(frozen=True)
class Done:
    """What one defence did in one part, or in `cannot` why it could do nothing."""

    records: tuple[FrameRecord, ...] = ()
    seconds: float = 0.0
    cannot: str | None = None


@dataclass
class Part:
    """One file."""

    key: Mapping[str, Any]
    done: dict[str, Done] = field(default_factory=dict)  # digest of a defence -> what it did

    @property
    def name(self) -> str:
        return part_name(self.key)

    def to_bytes(self) -> bytes:
        held = {
            "format": FORMAT,
            "key": dict(self.key),
            "done": {
                name: {"seconds": d.seconds, "cannot": d.cannot, "records": [r.to_dict() for r in d.records]}
                for name, d in sorted(self.done.items())
            },
        }
        return json.dumps(held).encode()


def part_key(**decides: Any) -> dict[str, Any]:
    """Everything that decides a part, versions included."""
    return {"versions": versions(), "format": FORMAT, **decides}


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of everything that figures depend on."""
    return dict(environment(1, 1)["versions"])


def part_name(key: Mapping[str, Any]) -> str:
    return f"{digest(key)}.json"


def read_part(folder: Path, key: Mapping[str, Any]) -> Part:
    """The part of a key; an empty one where none was written, or where what lies there cannot be read."""
    path = folder / part_name(key)
    try:
        held = json.loads(path.read_bytes())
        done = {
            str(name): Done(tuple(FrameRecord.from_dict(r) for r in d["records"]), float(d["seconds"]), d["cannot"])
            for name, d in held["done"].items()
        }
        return Part(key, done)
    except FileNotFoundError:
        return Part(key)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Part(key)  # somebody else's file, or an edited one: it is done again


def missing(part: Part, defenses: Sequence[str]) -> list[str]:
    """Which defences, by digest, are still to be played."""
    return [d for d in defenses if d not in part.done]


def write_part(folder: Path, part: Part) -> None:
    write_whole(folder / part.name, part.to_bytes())


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for path in folder.glob(".*.json.*"):
        path.unlink(missing_ok=True)
