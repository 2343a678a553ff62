"""docs/own_defense.md runs as written: one file and one line make a defence that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robosac.boxes import load_kernels
from robosac.defenses.protocol import Defense
from robosac.registry import defenses as registry
from robosac.types import Request, Verdict
from tests.test_readme import fences
from tests.toy import ToyDetector, frame, received

PAGE = Path(__file__).parents[1] / "docs" / "own_defense.md"
CARS = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0)]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's Python leaves behind; its preset stands among the others."""
    blocks = fences(PAGE.read_text())
    monkeypatch.setattr(registry, "DEFENSES", dict(registry.DEFENSES))
    for path in registry.FOLDER.glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "keeps-ours.yaml").write_text(next(b for language, b in blocks if language == "yaml"))
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    names: dict[str, Any] = {"__name__": "own_defense"}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    return names


def test_the_page_runs_and_its_defence_has_a_name(page: dict[str, Any]) -> None:
    load_kernels()
    made = registry.open_defense("keeps-ours")
    assert made == page["KeepsOurs"]() and isinstance(made, Defense)
    assert isinstance(page["verdict"], Verdict) and page["verdict"].decodes >= 1 + len(page["frame"].others)
    assert "keeps-ours" in registry.defense_names() and registry.policy("keeps-ours").make(1) == made


def test_it_leaves_out_who_hides_what_the_ego_shows(page: dict[str, Any]) -> None:
    """A toy in which a message of three numbers a car can also take cars away."""
    load_kernels()

    class Hides(ToyDetector):
        def open(self, ego, to, messages):  # type: ignore[no-untyped-def]
            session = super().open(ego, to, messages)
            plain = session.detect

            def detect(subsets):  # type: ignore[no-untyped-def]
                return [plain([s - {"b"}])[0] if "b" not in s else plain([frozenset()])[0].empty() for s in subsets]

            session.detect = detect
            return session

    detector, shown = Hides(), frame({"ego": CARS, "a": CARS, "b": CARS})
    to = Request.of(shown.ego)
    inbox = received([detector.encode(v, to) for v in shown.others.values()], to)
    defender = page["KeepsOurs"]().start("s", None, np.random.default_rng(0))
    verdict = defender.step(detector, shown.ego, to, inbox)
    assert (verdict.used, verdict.accused) == ({"a"}, {"b"}) and len(verdict.result) == len(CARS)
