"""Notebooks as pages with outputs and pictures, for the site: `python -m benchmarks.tutorials`, part of `make docs`.

Each is run from top to bottom, so a page shows what the code gives today; one that fails is an error.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import Option, options

ROOT: Final = Path(__file__).parents[1]
ORDER: Final = ("quickstart", "trial_budgets", "attacks", "defence", "certificates", "recorded_data", "fleet")
_MOST_LINES: Final = 60  # of one output
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def page(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook that was run, as Markdown, and its pictures by file name."""
    parts, pictures = list[str](), dict[str, bytes]()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                file = f"{name}-{len(pictures)}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                parts.append(f"![what the lines above draw]({file})")
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
            elif "text/html" in data:
                inside = " ".join(line for line in data["text/html"].splitlines() if line.strip())
                parts.append(f"<div>{inside}</div>")
            else:
                text = (output.get("text") or data.get("text/plain") or "").strip("\n")
                if text and output.get("name") != "stderr" and not text.startswith("<Figure"):
                    parts.append(_shown(text))
    at = f"../../notebooks/{name}.ipynb"
    note = f"*A notebook: [{name}.ipynb]({at}). Run it, change it, do the exercises before you look at the answers.*"
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n", pictures


def _shown(text: str) -> str:
    lines = _COLOURS.sub("", text).splitlines()
    more = len(lines) - _MOST_LINES
    kept = [*lines[:_MOST_LINES], *([f"... and {more} lines more"] if more > 0 else [])]
    return "\n".join(["```text", *kept, "```"])


def run(path: Path) -> Any:
    """A notebook with its outputs, run by this interpreter.

    Raises:
        CellExecutionError: it fails; says where.
    """
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    read: Any = nbformat.read
    notebook = read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, km=kernel, timeout=600, resources={"metadata": {"path": folder}})
        return client.execute()


def main() -> None:
    args = options(__doc__, out=Option(ROOT / "docs" / "tutorials", "folder to write to"))
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ORDER:
        text, pictures = page(run(ROOT / "notebooks" / f"{name}.ipynb"), name)
        (args.out / f"{name}.md").write_text(text, encoding="utf-8")
        for file, content in pictures.items():
            (args.out / file).write_bytes(content)
        print(f"{name}: {len(text.splitlines())} lines, {len(pictures)} pictures", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
