"""`robosac train-rivals` and `calibrate --add`: what is written is what rivals read, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robosac.calibration import Calibration, Thresholds
from robosac.cli.calibrate import added
from robosac.defenses.rivals import learned as module
from robosac.defenses.rivals.learned import AUTOENCODER, CLASSIFIER, FLOW, FOLDER, Network, learned
from robosac.fingerprint import file_fingerprint
from robosac.types import InputError

SHIPPED = sorted(FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_what_is_shipped_says_how_it_was_made_and_fits_its_detector(path: Path) -> None:
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["content"] == file_fingerprint(path) and said["command"].startswith("robosac train-rivals --detector ")
    assert path.stat().st_size < 500_000
    arrays = learned(path.stem)
    for name, outputs in ((AUTOENCODER, 512), (CLASSIFIER, 1)):
        network = Network.of(arrays, name)
        assert network is not None and network(network.standard(np.zeros((3, len(network.mean))))).shape == (3, outputs)
    for name in (AUTOENCODER, CLASSIFIER, FLOW):
        honest = arrays[f"{name}.honest"]
        assert len(honest) == said["honest"][name] >= 100 and np.isfinite(honest).all() and (np.diff(honest) >= 0).all()


def test_it_was_trained_on_training_scenes_and_scored_on_calibration_scenes() -> None:
    text = (Path(module.__file__).parents[2] / "experiments" / "rival_training.py").read_text()
    assert 'scenario("train"' in text and 'scenario("calibration"' in text and '"test"' not in text


def measure(at: float) -> Thresholds:
    return Thresholds(alpha=0.5, thresholds={1: at}, frames={1: 1}, scores={1: (at,)})


def test_what_is_held_is_kept_and_what_is_new_is_added(tmp_path: Path) -> None:
    held = Calibration("toy", {"a": measure(0.1)}, {"command": "first", "content": "x"})
    made = Calibration("toy", {"a": measure(0.9), "b": measure(0.2)}, {"command": "second", "content": "x"})
    file, none = tmp_path / "held.json", tmp_path / "none.json"
    held.save(file)
    for found in (added(made, file, None), added(made, none, file)):
        assert found.measures == {"a": held.measures["a"], "b": made.measures["b"]}
        assert found.source == {**held.source, "added: b": "second"}
    assert added(made, none, None) == made
    other = Calibration("toy", made.measures, {**made.source, "content": "y"})
    with pytest.raises(InputError, match="as it is now; make it again"):
        added(other, file, None)


def test_what_is_no_file_of_arrays_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    learned.cache_clear()
    (tmp_path / "odd.safetensors").write_bytes(b"odd")
    with pytest.raises(InputError, match="run `robosac train-rivals`"):
        learned("odd")
    assert learned("nobody") == {}
    learned.cache_clear()
