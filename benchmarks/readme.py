"""Write the figures of README.md from a finished demo: `robosac demo && python -m benchmarks.readme`.

The table comes from `runs/demo/result.json`, the picture from `runs/demo/frame-K-strip.png`; nothing is typed by hand.
What the table is made of is kept in `docs/figures/demo.json`, so that a test holds the page against it.
`--board` writes the board's tables instead, in README.md and docs/results.md, from the entries in `results/`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Option, options
from robosac.experiments.board.entry import read_entries
from robosac.experiments.board.table import IN_MARKDOWN, tables

ROOT = Path(__file__).parent.parent
START, END = "<!-- demo table: python -m benchmarks.readme -->", "<!-- end of demo table -->"
BOARD, END_OF_BOARD = "<!-- board: python -m benchmarks.readme --board -->", "<!-- end of board -->"
PAGES = {
    "README.md": ("rank", "worst", "attack", "benign", "mean", "caught", "excluded", "decodes", "time"),
    "docs/results.md": IN_MARKDOWN,
}

RECORD = ROOT / "docs" / "figures" / "demo.json"
_USED = (
    "attackers", "policy", "frames", "scenes", "ap", "recovered", "tpr_excluded", "fpr_excluded", "tpr_accused",
    "fpr_accused", "decodes", "ms",
)  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The demo's rows as Markdown."""
    lines = [
        "| attackers | policy | AP@0.5 (95 %) | AP@0.7 | gap recovered | attackers / honest left out | decodes |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    known = [{**row, "attackers": f"{row['attackers']}, knowing"} for row in result.get("knowing", ())]
    for row in [*result["rows"], *known]:
        mid, strict = row["ap"]["0.5"], row["ap"]["0.7"]
        interval = "no interval" if mid["low"] is None else f"{mid['low']:.2f}–{mid['high']:.2f}"
        bold = "**" if row["policy"].startswith("robosac, count") else ""
        out = "/".join(_percent(row[name]) for name in ("tpr_excluded", "fpr_excluded"))
        cells = [
            str(row["attackers"]),
            row["policy"],
            f"{mid['value']:.3f} ({interval})",
            f"{strict['value']:.3f}",
            _percent(row["recovered"]),
            out,
            f"{row['decodes']['value']:.1f}",
        ]
        lines.append("| " + " | ".join(f"{bold}{c}{bold}" for c in cells) + " |")
    return "\n".join(lines)


def _percent(estimate: dict[str, float] | None) -> str:
    return "–" if estimate is None else f"{100 * estimate['value']:.0f} %"


def fill(readme: str, result: dict[str, Any]) -> str:
    """README text with the table put between its markers."""
    frames = len({(f["scenario"], f["index"]) for f in result["frames"]})
    note = (
        f"{frames} frames of {sum(result['scenes'].values())} scenes; gap recovered: share of the way from ego only to "
        "the oracle (told who attacks)."
    )
    if result.get("knowing"):
        note += (
            f" Knowing: {result['config']['knowing']}, made against each row with all its rules and limits, one frame "
            f"of {result['knowing'][0]['scenes']} of these scenes."
        )
    return between(readme, START, f"{table(result)}\n\n{note}", END)


def between(page: str, start: str, text: str, end: str) -> str:
    """A page with a text put between two of its lines."""
    before, rest = page.split(start)
    return f"{before}{start}\n\n{text.strip()}\n\n{end}\n\n{rest.split(end)[-1].lstrip()}"


def with_board(page: str, results: Path, keys: Sequence[str]) -> str:
    """A page with the board's tables between its markers."""
    return between(page, BOARD, tables(read_entries(results), keys), END_OF_BOARD)


def kept(result: dict[str, Any]) -> dict[str, Any]:
    """What of a demo's record the table is made of."""
    frames = sorted({(f["scenario"], f["index"]) for f in result["frames"]})
    return {
        "command": result["command"],
        "versions": result["environment"]["versions"],
        "config": {"knowing": result["config"]["knowing"]},
        "scenes": result["scenes"],
        "frames": [{"scenario": scenario, "index": index} for scenario, index in frames],
        **{part: [{k: row[k] for k in _USED} for row in result.get(part, ())] for part in ("rows", "knowing")},
    }


def main() -> None:
    args = options(
        __doc__,
        run=Option(ROOT / "runs" / "demo", "folder of a finished `robosac demo`"),
        frame=Option(2, "which drawn frame becomes the picture; the last is the typical one"),
        board=Option(False, "the board's tables instead, from results/"),
    )
    if args.board:
        for name, keys in PAGES.items():
            page = ROOT / name
            page.write_text(with_board(page.read_text(), ROOT / "results", keys))
        return
    result = json.loads((args.run / "result.json").read_text()) | json.loads((args.run / "frames.json").read_text())
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(kept(result), indent=1) + "\n")
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(), result))
    picture = ROOT / "docs" / "images" / "one-of-them-lies.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.run / f"frame-{args.frame}-strip.png", picture)
    print(table(result))


if __name__ == "__main__":
    main()
