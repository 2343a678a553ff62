"""Shares of `python -m benchmarks.mutation`, from a folder as mutmut leaves it."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.mutation import results, table


def test_shares_by_hand(tmp_path: Path) -> None:
    codes = {"gate": {"a": 1, "b": 0, "c": -24, "d": None}, "trust": {"e": 33, "f": 3}, "types": {"g": None}}
    for name, of in codes.items():
        (tmp_path / f"{name}.py.meta").write_text(json.dumps({"exit_code_by_key": of}))
    found = results(tmp_path)
    assert found == {"gate.py": {"a": 1, "b": 0, "c": -24}, "trust.py": {"e": 33, "f": 3}}
    assert [line.split() for line in table(found).splitlines()[1:]] == [
        ["gate.py", "3", "2", "66.7%"],
        ["trust.py", "2", "1", "50.0%"],
        ["all", "5", "3", "60.0%"],
    ]
