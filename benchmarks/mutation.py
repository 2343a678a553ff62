"""Which share of small changes to the core its nearest tests notice: `python -m benchmarks.mutation` (`make mutants`).

mutmut changes one thing at a time (an operator, a number, an argument, a constant) in a copy of the tree, `mutants/`,
and runs the tests that call the changed function. What is changed and which tests are run is in `[tool.mutmut]` of
`pyproject.toml`. Not changed: the words of messages, decorated functions (properties, cached ones), and what stands
outside of functions (defaults of dataclasses, module constants). A change that makes a test run for ever counts as
noticed; one in a function that no test calls does not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import Option, Rest, options

ROOT = Path(__file__).parent.parent
MUTANTS = ROOT / "mutants"
UNNOTICED = {0: "survived", 5: "no tests", 33: "no tests"}  # mutmut's exit code of a mutant -> what it means


def results(folder: Path) -> dict[str, dict[str, int]]:
    """Module -> mutant -> exit code of its tests, of the mutants that were tested, as mutmut left them in a folder."""
    found = {}
    for meta in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        if tested := {name: code for name, code in codes.items() if code is not None}:
            found[str(meta.relative_to(folder).with_suffix(""))] = tested
    return found


def table(by_module: dict[str, dict[str, int]]) -> str:
    """Mutants, those noticed and their share in percent, a line a module."""
    rows = [(m, len(codes), sum(c not in UNNOTICED for c in codes.values())) for m, codes in by_module.items()]
    rows.append(("all", sum(n for _, n, _ in rows), sum(k for *_, k in rows)))
    lines = [f"{'module':<32} mutants  killed  share"]
    lines += [f"{name:<32} {n:7d} {k:7d} {100 * k / max(n, 1):5.1f}%" for name, n, k in rows]
    return "\n".join(lines)


def main() -> None:
    args = options(
        __doc__,
        only=Rest("mutants to test, by name, such as 'robosac.gate.*'; all unless given"),
        jobs=Option(2, "mutants tested at a time"),
        last=Option(False, "print the last run again"),
    )
    if not args.last:
        shutil.rmtree(MUTANTS, ignore_errors=True)  # results of an earlier run stand, even where tests have changed
        command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run", "--max-children"]
        subprocess.run([*command, str(args.jobs), *args.only], cwd=ROOT, check=True)
    by_module = results(MUTANTS)
    for name in (n for codes in by_module.values() for n, code in codes.items() if code in UNNOTICED):
        print(f"mutmut show {name}")
    print(table(by_module))


if __name__ == "__main__":
    main()
