"""Pages of one file: a template filled, and the one script in it that a browser may run."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from string import Template


def escaped(value: object) -> str:
    """As text of a page or of an attribute."""
    return html.escape(str(value), quote=True)


def filled(name: str, **parts: str) -> str:
    """The template of this folder with its `$parts`; `$script` is the digest of its own script, for the page's policy:
    nothing that is shown can run."""
    page = (resources.files("robosac.viz") / name).read_text(encoding="utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return Template(page).substitute(script=digest, **parts)
