"""One edit of a tree of lists and dictionaries, as a program or a person might make it."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import yaml

from robosac import plain_yaml

VALUES: Final = (
    *[
        None,
        True,
        False,
        "",
        "x",
        "12",
        "1e1",
        "nan",
        [],
        {},
        [[1], [2, 3]],
        [1, 2, 3],
        {"a": 1},
        0,
        -1,
        7,
        10**20,
        0.0,
    ],
    *[
        0.0,
        -1.5,
        1e-9,
        1e9,
        1e300,
        math.nan,
        math.inf,
        "Car",
        "pedestrian",
        "BUS",
        "vehicle.bus.rigid",
        "Cyclist",
        "\u00e9",
    ],
)
NO_JSON: Final = (datetime.date(2020, 1, 2), b"\xff")


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that the project's loader would take for numbers."""


_Dumper.yaml_implicit_resolvers = plain_yaml.RESOLVERS


def dumped(tree: Any) -> bytes:
    """A tree as YAML that means the tree."""
    text: str = yaml.dump(tree, Dumper=_Dumper, allow_unicode=True)
    return text.encode()


def edited(tree: Any, rng: np.random.Generator, values: tuple[Any, ...]) -> Any:
    """A copy of a tree of lists and dictionaries after one edit, sometimes two."""
    tree = copy.deepcopy(tree)
    for _ in range(1 + int(rng.random() < 0.3)):
        places = list(_places(tree))
        parent, key = places[int(rng.integers(len(places)))]
        value = parent[key]
        match int(rng.integers(8)):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, list):
                parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(value))
            case 1:
                parent[_other_key(key, rng)] = copy.deepcopy(value)
            case 2 if isinstance(parent, dict):
                parent[_other_key(key, rng)] = parent.pop(key)
            case 3:
                parent[key] = [value] if rng.random() < 0.5 else {"a": value}
            case 4 if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18:
                parent[key] = [str(value), -value, value * 1e6, 0 * value, float(value), math.trunc(value)][
                    int(rng.integers(6))
                ]
            case 5 if isinstance(value, list) and value:
                parent[key] = value[:-1] if rng.random() < 0.5 else [*value, value[-1]]
            case _:
                parent[key] = copy.deepcopy(values[int(rng.integers(len(values)))])
        if not tree:
            break
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _other_key(key: Any, rng: np.random.Generator) -> Any:
    return [str(key), f"{key}_", f"{key}".upper(), 10**20, -1, True, "k" * 120, "\u00e9"][int(rng.integers(8))]
