"""The reference implementation of ROBOSAC, same weights, same input: our ego boxes are its ego boxes.

Its checkout is named by ROBOSAC_REFERENCE; nothing of it is kept here. Run with -s to see the figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robosac.detectors.adapters.coperception import CoperceptionDetector, their_predictions
from robosac.types import Request
from tests.adapters import coperception_case as case
from tests.adapters.test_coperception import MEAN, saved

REFERENCE = os.environ.get("ROBOSAC_REFERENCE") or None
ROWS = [[], [0], [2, 3], [0, 3, 5], [0, 2, 3, 4, 5]]

pytestmark = [
    case.needed,
    case.quiet,
    pytest.mark.skipif(REFERENCE is None, reason="needs a checkout of the reference in ROBOSAC_REFERENCE"),
]


def test_our_ego_boxes_are_those_of_the_reference(tmp_path: Path) -> None:
    assert REFERENCE is not None
    data = case.batch(6)
    checkpoint = saved(tmp_path, case.model(MEAN, 6))
    padded = np.full((len(ROWS), 5), -1)
    for row, others in zip(padded, ROWS, strict=True):
        row[: len(others)] = others
    tensors = {k: getattr(data, k).numpy() for k in ("bev", "trans_matrices", "num_agent")}
    np.savez(tmp_path / "batch.npz", **tensors, collaborators=padded)
    command = [sys.executable, "-m", "tests.adapters.coperception_reference", REFERENCE, str(checkpoint)]
    done = subprocess.run(
        [*command, str(tmp_path / "batch.npz"), str(tmp_path / "out.npz")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    detector = CoperceptionDetector.from_checkpoint(checkpoint, model="mean", root=case.ROOT)
    frame = detector.frame(data.bev, data.trans_matrices, data.num_agent, ego=1)
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])
    with np.load(tmp_path / "out.npz", allow_pickle=False) as theirs:
        for i, others in enumerate(ROWS):
            (ours,) = their_predictions(session.detect([frozenset(f"agent{j}" for j in others)])[0])
            pred, score = theirs[f"pred{i}"], theirs[f"score{i}"]
            assert len(ours["score"]) == len(score) > 0
            gap, scores = np.abs(ours["pred"] - pred).max(), np.abs(ours["score"] - score).max()
            print(f"with {others}: {len(score)} boxes, corners within {gap:.2g} m, scores within {scores:.2g}")
            assert gap <= 1e-3 and scores <= 1e-6
