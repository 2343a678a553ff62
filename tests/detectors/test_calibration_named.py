"""The thresholds of a model in memory are where its user says, or that is an error."""

import pytest

from robosac.detectors.checkpoints import calibration_named
from robosac.types import InputError


def test_a_file_or_the_folder_that_it_lies_in(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text("{}")
    assert calibration_named(None, "usual.json") is None
    assert calibration_named(file, "usual.json") == calibration_named(str(file), "usual.json") == file
    assert calibration_named(tmp_path, "usual.json") == tmp_path / "usual.json"  # to be written there yet, perhaps


def test_a_name_that_leads_nowhere_is_no_default_threshold(tmp_path):
    with pytest.raises(InputError, match=r"expected calibration to be a file that robosac calibrate wrote.*mime.json"):
        calibration_named(tmp_path / "mime.json", "usual.json")
