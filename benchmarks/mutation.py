"""Which share of small changes to the core its nearest tests notice: `python -m benchmarks.mutation` (`make mutants`).

mutmut changes one thing at a time (an operator, a number, an argument, a constant) in a copy of the tree, `mutants/`,
and runs the tests that call the changed function. What is changed and which tests are run is in `[tool.mutmut]` of
`pyproject.toml`. Not changed: the words of messages, decorated functions (properties, cached ones), and what stands
outside of functions (defaults of dataclasses, module constants). A change that makes a test run for ever counts as
noticed; one in a function that no test calls does not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MUTANTS = ROOT / "mutants"
UNNOTICED = {0: "survived", 5: "no tests", 33: "no tests"}  # mutmut's exit code of a mutant -> what it means


def results(folder: Path) -> dict[str, dict[str, int]]:
    """Module -> mutant -> exit code of its tests, as mutmut left them in a folder."""
    found = {}
    for meta in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        if unfinished := [name for name, code in codes.items() if code is None]:
            raise SystemExit(f"expected every mutant to be tested, {len(unfinished)} in {meta.name} are not; run again")
        found[str(meta.relative_to(folder).with_suffix(""))] = codes
    return found


def table(by_module: dict[str, dict[str, int]]) -> str:
    """Mutants, those noticed and their share in percent, a line a module."""
    rows = [(m, len(codes), sum(c not in UNNOTICED for c in codes.values())) for m, codes in by_module.items()]
    rows.append(("all", sum(n for _, n, _ in rows), sum(k for *_, k in rows)))
    lines = [f"{'module':<32} mutants  killed  share"]
    lines += [f"{name:<32} {n:7d} {k:7d} {100 * k / max(n, 1):5.1f}%" for name, n, k in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="run the mutants whose name matches, such as 'robosac.gate.*'")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at a time")
    parser.add_argument("--survivors", action="store_true", help="print each change that no test noticed")
    parser.add_argument("--last", action="store_true", help="print the last run again")
    options = parser.parse_args()
    if not options.last:
        shutil.rmtree(MUTANTS, ignore_errors=True)  # results of an earlier run stand, even where tests have changed
        only = [options.only] if options.only else []
        mutmut = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()"]
        subprocess.run([*mutmut, "run", "--max-children", str(options.jobs), *only], cwd=ROOT, check=True)
    print(table(results(MUTANTS)))
