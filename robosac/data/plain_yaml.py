"""YAML of plain values, bounded before it is built: no tags that make objects, no merging, nothing that multiplies.

The safe loader of PyYAML builds no objects, but a small file can still keep it busy for ever: `<<` copies what it
merges, `1:00:00:...` is read as a number in base 60, equal hashes are easily found for whole numbers without bound, and
an alias costs a byte or two whatever it stands for. So merging is off, whole numbers have at most 64 bits, and values
are counted, those that are referred to again as often as that.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

SIZE_LIMIT: Final = 4 << 20
VALUES_LIMIT: Final = 1_000_000  # to one who walks through them
NODES_LIMIT: Final = 100_000  # the frames of OPV2V and V2XSet have some thousands
DEPTH_LIMIT: Final = 100
_SHALLOW: Final = 1000  # lists opened and characters in a line up to which YAML cannot be nested dangerously deep
_DIGITS: Final = 70  # of 64 bits in base 2, its sign and prefix
_BITS: Final = 64
_INDICATORS: Final = (b":", b",", b"-", b"[", b"{", b"?")  # one for every value, or key and value
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may have been built without libyaml


class _PlainLoader(_Safe):  # type: ignore[misc]
    """The safe loader without merging and with whole numbers of 64 bits."""

    def flatten_mapping(self, node: Any) -> None:
        for key, _ in node.value:
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


def parse(data: bytes) -> Any:
    """The plain value of a YAML document.

    Raises:
        ValueError, yaml.YAMLError and others that its constructors raise: if it is broken or holds anything else.
    """
    if sum(data.count(mark) for mark in _INDICATORS) > NODES_LIMIT:
        raise ValueError(f"may hold more than {NODES_LIMIT} values")
    if not _shallow(data):
        _check_depth(data)
    loaded = yaml.load(data, Loader=_PlainLoader)
    if b"&" in data:  # the same value may be referred to many times
        _check_size(loaded)
    return loaded


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
