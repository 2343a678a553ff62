"""The project's one YAML loader, for its own settings and for untrusted recordings: plain values, bounded first.

The safe loader of PyYAML builds no objects, but a small file can still keep it busy for ever: `<<` copies what it
merges, `1:00:00:...` is read as a number in base 60, equal hashes are easily found for whole numbers without bound, and
an alias costs a byte or two whatever it stands for. So merging is off, whole numbers have at most 64 bits, and values
are counted, those that are referred to again as often as that.

It misreads, too: of a key that stands twice it keeps the last, and `1e-2` is a text to it. Here the first is an error
and the second the number 0.01, as in YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from robosac.errors import InputError

SIZE_LIMIT: Final = 4 << 20
VALUES_LIMIT: Final = 1_000_000  # to one who walks through them
NODES_LIMIT: Final = 100_000  # the frames of OPV2V and V2XSet have some thousands
DEPTH_LIMIT: Final = 100
_SHALLOW: Final = 1000  # lists opened and characters in a line up to which YAML cannot be nested dangerously deep
_DIGITS: Final = 70  # of 64 bits in base 2, its sign and prefix
_BITS: Final = 64
_NO_YAML: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INDICATORS: Final = (b":", b",", b"-", b"[", b"{", b"?")  # one for every value, or key and value
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may have been built without libyaml


Only: TypeAlias = Mapping[str, Any] | None  # key -> what of its value: all (None), or a mapping again


class _PlainLoader(_Safe):  # type: ignore[misc]
    """The safe loader without merging and repeated keys, with whole numbers of 64 bits and numbers like 1e-2."""

    def flatten_mapping(self, node: Any) -> None:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
                seen.add((key.tag, key.value))
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not read", key.start_mark)
            if key.tag == "tag:yaml.org,2002:value":  # `=` as a key is the text
                key.tag = "tag:yaml.org,2002:str"

    def bounded_int(self, node: Any) -> int:
        text = self.construct_scalar(node)
        if len(text) > _DIGITS:
            raise yaml.constructor.ConstructorError(None, None, "no whole number of 64 bits", node.start_mark)
        value: int = self.construct_yaml_int(node)
        if value.bit_length() > _BITS:
            raise yaml.constructor.ConstructorError(None, None, "no whole number of 64 bits", node.start_mark)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.bounded_int)
_PlainLoader.add_implicit_resolver(  # an exponent without a point or without a sign; the rest PyYAML knows
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
RESOLVERS: Final[Any] = _PlainLoader.yaml_implicit_resolvers  # which plain texts are numbers, dates and the like


def parse(data: bytes, only: Only = None) -> Any:
    """The plain value of a YAML document.

    Where `only` is given, mappings keep its keys alone, those below a key as its value says ("*" stands for every other
    key), and what is under others is not looked at: whatever tags and texts a program wrote there are no mistake.

    Raises:
        ValueError, yaml.YAMLError and others that its constructors raise: if it is broken or holds anything else.
    """
    if sum(data.count(mark) for mark in _INDICATORS) > NODES_LIMIT:
        raise ValueError(f"may hold more than {NODES_LIMIT} values")
    if not _shallow(data):
        _check_depth(data)
    loaded = _loaded(data, only)
    if b"&" in data:  # the same value may be referred to many times
        _check_size(loaded)
    return loaded


def _loaded(data: bytes, only: Only) -> Any:
    loader = _PlainLoader(data if only is None else _readable(data))
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if only is not None:
            _keep(node, only, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _readable(data: bytes) -> bytes:
    """The same text with a mark for each byte that is no UTF-8 and each character that YAML does not allow."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # of UTF-16
        return data
    return _NO_YAML.sub("\ufffd", data.decode("utf-8", "replace")).encode()


def _keep(node: Any, only: Mapping[str, Any], done: set[int]) -> None:
    if not isinstance(node, yaml.MappingNode) or id(node) in done:
        return
    done.add(id(node))
    kept = []
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "*"
        wanted = name if name in only else "*"
        if wanted in only:
            kept.append((key, value))
            if only[wanted] is not None:
                _keep(value, only[wanted], done)
    node.value = kept


def parse_text(text: str, what: str) -> Any:
    """The plain value of a text; `what` names it in errors.

    Raises:
        InputError: if it is no YAML of plain values.
    """
    try:
        return parse(text.encode())
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # TypeError: a list as a key
        raise InputError(f"expected {what} to be YAML of plain values, got: {error}") from error


def read(path: Path) -> Any:
    """The plain value of one of the user's own settings files.

    Raises:
        InputError: if there is no such file, or it is no YAML of plain values.
    """
    try:
        return parse_text(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise InputError(f"expected a YAML file at {path}, got none") from None
    except UnicodeDecodeError as error:
        raise InputError(f"expected {path} to be YAML in UTF-8, got: {error}") from error


def _shallow(data: bytes) -> bool:
    """Whether nesting is bounded by what can be counted quickly: brackets, and columns for nested blocks."""
    opened = data.count(b"[") + data.count(b"{")
    return opened <= _SHALLOW and max(map(len, data.splitlines()), default=0) <= _SHALLOW


def _check_depth(data: bytes) -> None:
    """Nesting by libyaml's events, which need no recursion; what builds the values recurses in C."""
    depth = 0
    for event in yaml.parse(data, Loader=_PlainLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise ValueError(f"nested deeper than {DEPTH_LIMIT}")


def _check_size(value: Any) -> None:
    """Count values as one who walks through them would; a value within itself never ends."""
    left, stack = VALUES_LIMIT, [value]
    while stack:
        found = stack.pop()
        left -= 1
        if isinstance(found, dict):
            stack += found.values()
        elif isinstance(found, (list, tuple)):
            stack += found
        if left < len(stack):
            raise ValueError(f"holds more than {VALUES_LIMIT} values")
