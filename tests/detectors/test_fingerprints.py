"""A detector's fingerprint names its content: weights wherever they are, and every setting that shapes results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robosac import detectors
from robosac.detectors import EarlyFusion, LateFusion
from robosac.detectors.adapters.coperception import CoperceptionDetector, DecodeConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.weights import load_network, save
from robosac.detectors.fusion.single import single
from robosac.fingerprint import fingerprint
from robosac.types import BevGrid, Codec, Request
from tests.detectors import fake_coperception as fake
from tests.detectors import plain
from tests.detectors.conftest import untrained
from tests.detectors.synthetic import scene_views
from tests.test_fingerprint import detect_with, net
from tests.toy import ToyDetector

SHIPPED = detectors.WEIGHTS / "mean.safetensors"


def weights(path: Path, *, nudge: float = 0.0) -> Path:
    """The shipped weights under another name; `nudge` moves one of them."""
    net, header = load_network(SHIPPED)
    with torch.no_grad():
        next(net.head.parameters()).view(-1)[0] += nudge
    return save(path, net, header, {})


class Plain:
    """A user's detector: a plain class that holds its nets in a dict."""

    name, grid, codec = "plain", None, Codec("plain", {})

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.parts = {"head": nn.Linear(3, 2), "table": np.arange(3.0)}
        self.threshold = 0.5


def changed_plain() -> Plain:
    made = Plain(0)
    with torch.no_grad():
        made.parts["head"].bias[1] += 1e-3  # type: ignore[union-attr]
    return made


def copy_of(detector: BevDetector, **decode: Any) -> BevDetector:
    network, header = load_network(SHIPPED)
    assert isinstance(network, Network) and detector.header == header
    return BevDetector(network, header.model_copy(update={"decode": header.decode.model_copy(update=decode)}))


def coperception(kind: type[fake.FusionBase] = fake.MeanFusion, seed: int = 0, **settings: Any) -> CoperceptionDetector:
    return CoperceptionDetector(fake.model(kind, seed=seed), layout=fake.LAYOUT, name="mine", **settings)


GRID = BevGrid(-10.0, -10.0, 1.0, 20, 20)
MEAN = detectors.load("mean")
DIFFERENT: dict[str, tuple[Callable[[], Any], ...]] = {  # nothing of one row may be named alike
    "shipped": tuple(lambda n=n: detectors.load(n) for n in detectors.SHIPPED),  # type: ignore[misc]
    "decoding": (lambda: copy_of(MEAN), lambda: copy_of(MEAN, nms_iou=0.5), lambda: MEAN.in_ego_frame()),
    "late": (
        lambda: LateFusion(plain.cars, name="x"),
        lambda: LateFusion(plain.cars, name="y"),
        lambda: LateFusion(plain.cars, name="x", iou=0.5),
        lambda: LateFusion(plain.cars, name="x", merge="wbf"),
        lambda: LateFusion(plain.cars, name="x", min_score=0.2),
        lambda: LateFusion(plain.cars, name="x", max_size_m=12.0),
        lambda: LateFusion(plain.cars, name="x", keep_own_body=True),
        lambda: LateFusion(plain.cars, name="x", grid=GRID),
        lambda: LateFusion(plain.view, name="x"),
        lambda: LateFusion(single("mean"), name="x"),
        lambda: LateFusion(single("max"), name="x"),
        lambda: EarlyFusion(plain.cars, name="x"),
    ),
    "early": (
        lambda: EarlyFusion(plain.cars, name="x"),
        lambda: EarlyFusion(plain.cars, name="x", max_points=10),
        lambda: EarlyFusion(plain.cars, name="x", keep_own_body=True),
        lambda: EarlyFusion(single("mean"), name="x"),
        lambda: EarlyFusion(single("max"), name="x"),
    ),
    "coperception": (
        coperception,
        lambda: coperception(seed=1),
        lambda: coperception(fake.HalfFusion),
        lambda: coperception(decode=DecodeConfig(score_threshold=0.3)),
        lambda: CoperceptionDetector(fake.model(), layout=replace(fake.LAYOUT, close_m=0.5), name="mine"),
        lambda: CoperceptionDetector(fake.model(agents=5), layout=fake.LAYOUT, name="mine"),
    ),
    "a user's own": (lambda: Plain(0), lambda: Plain(1), changed_plain),
}


@pytest.mark.parametrize("row", DIFFERENT)
def test_other_content_has_another_name_and_the_same_content_the_same(row: str) -> None:
    made = [fingerprint(make()) for make in DIFFERENT[row]]
    assert len(set(made)) == len(made)
    assert made == [fingerprint(make()) for make in DIFFERENT[row]]


@pytest.mark.parametrize("around", [lambda p: detectors.load(p), lambda p: LateFusion(single(p), name="x")])
def test_other_weights_under_an_old_name_are_noticed_and_the_same_elsewhere_are_the_same(
    around: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = weights(tmp_path / "w.safetensors")
    before = fingerprint(around(path))
    assert before == fingerprint(around(weights(tmp_path / "elsewhere.safetensors")))
    weights(path, nudge=1e-3)
    assert fingerprint(around(path)) != before


def test_what_was_loaded_counts_and_not_what_the_file_has_become(tmp_path: Path) -> None:
    detector = detectors.load(weights(tmp_path / "w.safetensors"))
    before = fingerprint(detector)
    weights(tmp_path / "w.safetensors", nudge=1e-3)
    assert fingerprint(detector) == before
    (tmp_path / "w.safetensors").unlink()
    assert fingerprint(detector) == before


USED: dict[str, Callable[[], tuple[Any, Any]]] = {
    "bev": lambda: (untrained(), scene_views(agents=3)[0]),
    "late": lambda: (LateFusion(plain.cars, name="x"), [plain.SCENE.ego, *plain.SCENE.others.values()]),
    "early": lambda: (EarlyFusion(plain.cars, name="x"), [plain.SCENE.ego, *plain.SCENE.others.values()]),
    "coperception": lambda: (coperception(), [fake.view(n) for n in "abc"]),
}


@pytest.mark.parametrize("case", USED)
def test_use_does_not_change_it(case: str) -> None:
    detector, (ego, *others) = USED[case]()
    before = fingerprint(detector)
    to = Request.of(ego)
    session = detector.open(ego, to, [detector.encode(v, to) for v in others])
    session.detect([frozenset(), frozenset(session.ids)])
    assert fingerprint(detector) == before
    if hasattr(detector, "full"):
        detector.full(ego, others, to)
        assert fingerprint(detector) == before


def uses_sets(x: str) -> bool:
    return x in {"a", "b", "c", "d"}


def samples() -> list[Any]:
    """What could be named otherwise where strings have other hashes: sets, code with sets in it, networks."""
    return [
        {"a", "b", "c"},
        uses_sets,
        ToyDetector(),
        LateFusion(detect_with(net()), name="late"),
        MEAN,
        LateFusion(single("max"), name="x"),
        EarlyFusion(plain.cars, name="x"),
        Plain(0),
    ]


def test_it_is_the_same_in_every_process() -> None:
    script = (
        "from robosac.fingerprint import fingerprint\n"
        "from tests.detectors.test_fingerprints import samples\n"
        "print(*map(fingerprint, samples()))"
    )
    root = Path(__file__).parents[2]
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == [fingerprint(d) for d in samples()]
