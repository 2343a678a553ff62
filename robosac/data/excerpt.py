"""The part of a YAML file that is needed, cut out before it is parsed.

Half of an OPV2V file describes cameras and a plan, and parsing YAML is most of what reading a frame costs. Where a file
is as the data sets write it, keys at the start of a line and below them nothing but indented words, numbers and lists,
the lines of a key can be taken by themselves; any character that could mean more (quotes, brackets, anchors, tags,
comments) and nothing is cut. What is left out is not looked at: errors there go unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-: \n"
_KEY: Final = re.compile(rb"^([A-Za-z]\w*):(?=[ \n])", re.MULTILINE)
_ELSE: Final = re.compile(rb"^(?:[^A-Za-z \n-]|-(?![ \n])|[A-Za-z]\w*(?!\w|:[ \n]))", re.MULTILINE)  # at a line's start
_LONGEST: Final = 500  # of a line, so that nothing is nested deeper


def excerpt(data: bytes, keys: Collection[str]) -> bytes | None:
    """The lines of a YAML file that make up the values of `keys` at its top; None where they cannot be read simply."""
    if data.translate(None, _PLAIN) or _ELSE.search(data) or max(map(len, data.split(b"\n"))) > _LONGEST:
        return None
    found = list(_KEY.finditer(data))
    if not found or found[0].start() != 0:
        return None
    ends = [key.start() for key in found[1:]] + [len(data)]
    return b"".join(data[key.start() : end] for key, end in zip(found, ends, strict=True) if key[1].decode() in keys)
