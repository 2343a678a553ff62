"""Instructions with several possible answers: what is learnt from, and what is scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from robosac.randomness import keyed_rng
from robosac.types import InputError

_SHARES: Final = (0.7, 0.1)  # of a file: to learn from, and held out for the verifier; the rest is reported on
_LEAST: Final = 10  # lines that can be split
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """An instruction, its possible answers and which of them is right.

    A model learns to continue `prompt` with the right answer. It is scored by which answer it finds most probable; no
    text that it writes is read.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or len(set(self.choices)) != len(self.choices) or "" in self.choices:
            raise InputError(f"expected two or more different answers that are not empty, got {self.choices}")
        if not 0 <= self.answer < len(self.choices):
            raise InputError(f"expected an answer in 0..{len(self.choices) - 1}, got {self.answer}")

    @property
    def right(self) -> str:
        """The right answer."""
        return self.choices[self.answer]


@dataclass(frozen=True)
class Split:
    """A domain's items: to learn from, held out for the verifier, reported on. No instruction is in two of them."""

    train: tuple[Item, ...]
    verify: tuple[Item, ...]
    test: tuple[Item, ...]


def read_folder(folder: Path) -> dict[str, Split]:
    """Domain -> its items, of `DOMAIN.jsonl` files: lines `{"prompt": ..., "choices": [...], "answer": 0}`.

    Raises:
        InputError: there is none, or a line is none; says which.
    """
    paths = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"expected DOMAIN.jsonl files in {folder}, got none")
    return {path.stem: split(_read(path), path.stem) for path in paths}


def split(items: Sequence[Item], domain: str) -> Split:
    """Instructions dealt out, the same ones the same way; all items of one instruction stay together."""
    prompts = list(dict.fromkeys(item.prompt for item in items))
    if len(prompts) < _LEAST:
        raise InputError(f"expected at least {_LEAST} different instructions of {domain}, got {len(prompts)}")
    order = [prompts[int(k)] for k in keyed_rng("split", domain).permutation(len(prompts))]
    first = max(1, round(_SHARES[0] * len(order)))
    second = first + max(1, round(_SHARES[1] * len(order)))
    place = {p: int(k >= first) + int(k >= second) for k, p in enumerate(order)}
    return Split(*(tuple(item for item in items if place[item.prompt] == part) for part in range(3)))


def dealt(items: Sequence[T], parts: int) -> list[tuple[T, ...]]:
    """Items dealt to so many, one after the other.

    Raises:
        InputError: there are fewer items than parts.
    """
    if len(items) < parts:
        raise InputError(f"expected at least {parts} items for {parts} vehicles of one domain, got {len(items)}")
    return [tuple(items[k::parts]) for k in range(parts)]


def _read(path: Path) -> list[Item]:
    items = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected {path} to be text in UTF-8, got {type(error).__name__}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            items.append(_item(line, f"{path}, line {number}"))
    return items


def _item(line: str, where: str) -> Item:
    wanted = '{"prompt": TEXT, "choices": [TEXT, ...], "answer": NUMBER}'
    try:
        held = json.loads(line)
        prompt, choices, answer = held["prompt"], held["choices"], held["answer"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"expected {wanted} in {where}, got {line[:60]!r}") from None
    texts = isinstance(choices, list) and all(isinstance(c, str) for c in choices)
    if not isinstance(prompt, str) or not prompt or not texts or type(answer) is not int:
        raise InputError(f"expected {wanted} in {where}, got {line[:60]!r}")
    try:
        return Item(prompt, tuple(choices), answer)
    except InputError as error:
        raise InputError(f"{error} in {where}") from None
