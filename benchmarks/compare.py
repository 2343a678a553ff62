"""Several finished demos side by side, as Markdown: `python -m benchmarks.compare runs/eps-0.1 runs/eps-0.5 ...`"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Rest, options
from robosac.experiments.demo import POLICIES


def table(runs: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """A row a run and number of attackers, AP@0.5 a policy."""
    lines = ["| run | attackers | " + " | ".join(POLICIES) + " |", "|---|--:|" + "--:|" * len(POLICIES)]
    for name, result in runs:
        for m in dict.fromkeys(row["attackers"] for row in result["rows"]):
            ap = {row["policy"]: row["ap"]["0.5"] for row in result["rows"] if row["attackers"] == m}
            cells = ("–" if ap[p] is None else f"{ap[p]['value']:.3f}" for p in POLICIES)
            lines.append(f"| {name} | {m} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    folders = map(Path, options(__doc__, runs=Rest("folders of finished `robosac demo` runs")).runs)
    print(table([(folder.name, json.loads((folder / "result.json").read_text())) for folder in folders]))


if __name__ == "__main__":
    main()
