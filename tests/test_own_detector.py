"""The blocks of docs/own_detector.md run as written, one after the other, and defend what they say they defend."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robosac
from robosac.defenses import RobosacAgreement
from robosac.types import Detector, Request, Session, Verdict
from tests.test_readme import fences
from tests.toy import received

PAGE = Path(__file__).parents[1] / "docs" / "own_detector.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page's Python leaves behind, with every verdict it reached as `verdicts`."""
    names: dict[str, Any] = {"__name__": "own_detector"}
    verdicts = []
    for language, block in fences(PAGE.read_text()):
        if language == "python":
            names.pop("verdict", None)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", message=".*default limits.*it is not calibrated.*")
                exec(compile(block, str(PAGE), "exec"), names)
            if "verdict" in names:
                verdicts.append(names["verdict"])
    return {**names, "verdicts": verdicts}


def test_every_block_runs_and_every_detector_is_defended(page: dict[str, Any]) -> None:
    assert len(page["verdicts"]) == 4
    for verdict in page["verdicts"]:
        assert isinstance(verdict, Verdict) and verdict.trials and not verdict.rejected
        assert len(verdict.result) > 0 and set(verdict.suspicion) == set(page["frame"].others)


def test_the_class_is_about_as_short_as_the_page_says(page: dict[str, Any]) -> None:
    block = next(b for _, b in fences(PAGE.read_text()) if "class ToySession" in b)
    body = [line for line in block[block.index("class Toy:") : block.index("verdict = ")].splitlines() if line.strip()]
    assert len(body) <= 32
    assert isinstance(page["Toy"](), Detector)


@pytest.mark.parametrize("kind", ["late", "early", "class"])
def test_an_attacker_is_kept_out_of_each(page: dict[str, Any], kind: str) -> None:
    """One teammate sends a lattice of cars, 8 m apart."""
    detector = {"late": page["late"], "early": page["early"], "class": page["Toy"]()}[kind]
    frame = page["frame"]
    to = Request.of(frame.ego)
    inbox = [detector.encode(view, to) for view in frame.others.values()]
    places = np.stack(np.meshgrid(np.arange(-32, 33, 8), np.arange(-32, 33, 8)), axis=-1).reshape(-1, 1, 2)
    malicious = inbox[0]
    if kind == "late":
        boxes = np.tile(np.array([0, 0, -1, 4.5, 1.9, 1.6, 0], np.float32), (len(places), 1))
        boxes[:, :2] = places[:, 0]
        inbox[0] = malicious.with_payload(boxes=boxes, scores=np.ones(len(places), np.float32))
    else:
        (name, honest), *_ = malicious.payload.items()
        spots = places + np.random.default_rng(0).uniform(-1, 1, (len(places), 100, 2))
        fake = np.zeros((100 * len(places), honest.shape[1]), np.float32)
        fake[:, :2], fake[:, 2] = spots.reshape(-1, 2), -1.0
        inbox[0] = malicious.with_payload(**{name: fake})
    session = detector.open(frame.ego, to, inbox)
    assert isinstance(session, Session)
    verdict = robosac.wrap(detector, RobosacAgreement(threshold=0.45)).receive(frame.ego, received(inbox, to), to=to)
    assert malicious.sender not in verdict.used
