"""Four domains of instructions, made by code, and what the tiny model has read before.

| domain | an instruction | its answer |
|---|---|---|
| `arithmetic` | `37+45=` | `82`; wrong answers are off by 1, 2, 10 or 20 |
| `reversal` | `reverse fbkad=` | `dakbf`; wrong answers have two letters exchanged |
| `sorting` | `sort fbkad=` | `abdfk`; likewise |
| `facts` | `where does nuro live? ` | one of eight places; wrong answers are others |

Before (`primer`), the model has read shorter strings, smaller sums and the facts of other names. What a domain adds is
length, carries, and a table to remember: the table is asked for in words that its owners never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

import numpy as np

from robosac.language.items import Item, Split
from robosac.randomness import keyed_rng

LETTERS: Final = "abcdefghijkl"
LENGTH: Final = 5
NAMES: Final = tuple("".join(p) for p in product("bdfgklmnprstvz", "aeiou", "bdgklmnrst", "aeo"))
RELATIONS: Final = (  # what is asked for in several words, and what may be the answer
    (
        ("where does {} live? ", "{} lives in ", "home of {}: ", "find {} in "),
        ("oslo", "rome", "kyiv", "lima", "cairo", "delhi", "tokyo", "paris"),
    ),
    (
        ("what does {} eat? ", "{} eats ", "food of {}: ", "feed {} with "),
        ("rice", "corn", "fish", "plum", "bread", "apples", "beans", "soup"),
    ),
)
_PARTS: Final = ("train", "verify", "test")
_KNOWN: Final = 60  # names whose facts a domain's table holds
_CHOICES: Final = 4


def domain(name: str, counts: tuple[int, int, int]) -> Split:
    """So many items of each part of a domain; the same for everybody."""
    made = []
    for part, count in zip(_PARTS, counts, strict=True):
        rng = keyed_rng("language", name, part)
        if name == "facts":
            made.append(_facts(part, count, rng))
            continue
        drawn: dict[str, Item] = {}
        for item in _endless(MAKERS[name], rng):
            if part_of(item.prompt) == part:
                drawn.setdefault(item.prompt, item)
            if len(drawn) >= count:
                break
        made.append(tuple(drawn.values()))
    return Split(*made)


def part_of(prompt: str) -> str:
    """Which part an instruction belongs to, by its words alone: 70, 10 and 20 of a hundred."""
    drawn = keyed_rng("part", prompt).random()
    return _PARTS[int(drawn >= 0.7) + int(drawn >= 0.8)]


def _endless(make: Callable[[np.random.Generator], Item], rng: np.random.Generator) -> Iterator[Item]:
    while True:
        yield make(rng)


# ----------------------------------------------------------------------------------------------------------- items
def _item(prompt: str, right: str, wrong: list[str], rng: np.random.Generator) -> Item:
    others = list(dict.fromkeys(w for w in wrong if w != right))
    chosen = [others[int(k)] for k in rng.permutation(len(others))[: _CHOICES - 1]]
    place = int(rng.integers(len(chosen) + 1))
    return Item(prompt, (*chosen[:place], right, *chosen[place:]), place)


def sum_of(rng: np.random.Generator, low: int = 10, high: int = 50) -> Item:
    """`a+b=` of numbers in low..high - 1."""
    a, b = (int(x) for x in rng.integers(low, high, 2))
    off = [d for d in (-20, -10, -2, -1, 1, 2, 10, 20) if len(str(a + b + d)) == len(str(a + b)) and a + b + d >= 0]
    return _item(f"{a}+{b}=", str(a + b), [str(a + b + d) for d in off], rng)


def _letters(rng: np.random.Generator, length: int) -> str:
    return "".join(LETTERS[int(k)] for k in rng.permutation(len(LETTERS))[:length])


def _exchanged(text: str) -> list[str]:
    found = []
    for i in range(len(text)):
        for j in range(i + 1, len(text)):
            changed = list(text)
            changed[i], changed[j] = changed[j], changed[i]
            found.append("".join(changed))
    return found


def reversal_of(rng: np.random.Generator, length: int = LENGTH) -> Item:
    """`reverse TEXT=`."""
    text = _letters(rng, length)
    return _item(f"reverse {text}=", text[::-1], _exchanged(text[::-1]), rng)


def sorting_of(rng: np.random.Generator, length: int = LENGTH) -> Item:
    """`sort TEXT=`."""
    text = _letters(rng, length)
    right = "".join(sorted(text))
    return _item(f"sort {text}=", right, _exchanged(right), rng)


MAKERS: Final[dict[str, Callable[[np.random.Generator], Item]]] = {
    "arithmetic": sum_of,
    "reversal": reversal_of,
    "sorting": sorting_of,
}
DOMAINS: Final = (*MAKERS, "facts")


def fact(name: str, relation: int) -> int:
    """Which of a relation's values is a name's: the table."""
    return int(keyed_rng("fact", name, relation).integers(len(RELATIONS[relation][1])))


def asked(name: str, relation: int, words: int, rng: np.random.Generator) -> Item:
    """A fact, asked for in one of the ways."""
    texts, values = RELATIONS[relation]
    right = values[fact(name, relation)]
    return _item(texts[words].format(name), right, list(values), rng)


def _names(known: bool) -> list[str]:
    order = keyed_rng("names").permutation(len(NAMES))
    chosen = order[:_KNOWN] if known else order[_KNOWN : 3 * _KNOWN]
    return [NAMES[int(k)] for k in chosen]


def _facts(part: str, count: int, rng: np.random.Generator) -> tuple[Item, ...]:
    """Facts of the table: learnt in two ways of asking, held out in a third, reported on in a fourth."""
    ways = {"train": (1, 2), "verify": (3,), "test": (0,)}[part]
    every = [(n, r, w) for n in _names(known=True) for r in range(len(RELATIONS)) for w in ways]
    order = rng.permutation(len(every))
    return tuple(asked(*every[int(k)], rng) for k in order[:count])


def primer(rng: np.random.Generator) -> Item:
    """What the tiny model reads before it is tuned."""
    kind = int(rng.integers(4))
    if kind == 0:
        return sum_of(rng, 0, 30) if rng.random() < 0.7 else sum_of(rng, 10, 20)
    if kind == 1:
        return reversal_of(rng, int(rng.integers(2, LENGTH)))
    if kind == 2:
        return sorting_of(rng, int(rng.integers(2, LENGTH)))
    names = _names(known=False)
    return asked(names[int(rng.integers(len(names)))], int(rng.integers(2)), int(rng.integers(4)), rng)
