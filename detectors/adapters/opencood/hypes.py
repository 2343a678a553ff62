"""An OpenCOOD `config.yaml`, read as data.

OpenCOOD loads it with a loader that may build any Python object, and its training writes numpy arrays and tuples into
it. Here nothing is built: tuples are kept, and what a tag of Python's would build is left open, since OpenCOOD's own
`yaml_parser` functions (`load_point_pillar_params` and its like) derive those values again from the voxel size and
the range. A value that stays open is an error that names its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robosac.detectors.adapters.opencood import bridges
from robosac.types import InputError


@dataclass(frozen=True)
class _Open:
    """Stands for a Python object that the file asks to have built."""

    tag: str


class _Loader(yaml.SafeLoader):
    """Safe loading; numbers like 1e-4 are numbers, as in OpenCOOD and YAML 1.2 (PyYAML alone wants 1.0e-4)."""


def _tuple(loader: _Loader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


_Loader.add_implicit_resolver(  # an exponent without a point or without a sign; the rest PyYAML knows
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: _Open(suffix))


def read_config(path: Path) -> dict[str, Any]:
    """The mapping that a configuration file holds, nothing derived yet.

    Raises:
        InputError: if there is no such file or it holds no mapping.
    """
    if not path.is_file():
        raise InputError(f"expected OpenCOOD's configuration at {path}, found none; name the folder of a trained model")
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"expected YAML in {path}: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"expected a mapping in {path}, got {type(found).__name__}")
    return found


def load_hypes(path: Path, root: Path | str | None = None) -> dict[str, Any]:
    """OpenCOOD's configuration with what its own `yaml_parser` derives: grid sizes, anchors.

    Raises:
        InputError: if the file cannot be used, names a parser that OpenCOOD lacks, or needs a Python object built.
    """
    hypes = read_config(path)
    parser = hypes.get("yaml_parser")
    if parser is not None:
        hypes = _derived(hypes, parser, path, root)
    unresolved = [f"{key} ({tag})" for key, tag in _open_values(hypes, "")]
    if unresolved:
        raise InputError(
            f"expected plain values in {path}, but these would build Python objects: {', '.join(unresolved[:5])}; "
            "write them as numbers or lists"
        )
    return hypes


def _derived(hypes: dict[str, Any], parser: object, path: Path, root: Path | str | None) -> dict[str, Any]:
    utilities = bridges.import_module("opencood.hypes_yaml.yaml_utils", root)
    known = sorted(n for n in vars(utilities) if re.fullmatch(r"load_\w+_params", n))
    if parser not in known:
        raise InputError(f"expected yaml_parser in {path} among {', '.join(known)}, got {parser!r}")
    try:
        derived: dict[str, Any] = getattr(utilities, str(parser))(hypes)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(
            f"expected in {path} what {parser} needs (voxel size, range, model and anchor arguments), "
            f"got {type(error).__name__}: {error}"
        ) from error
    return derived


def _open_values(value: object, at: str) -> Iterator[tuple[str, str]]:
    """(key, tag) of every value left open."""
    if isinstance(value, _Open):
        yield at or "the file", value.tag
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _open_values(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _open_values(inner, f"{at}[{i}]")
