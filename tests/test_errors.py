"""The project's own warnings are collected; those of others go on."""

import warnings

import pytest

from robosac.errors import InputError, RobosacWarning, heard, warn


def test_own_warnings_are_collected_once_and_others_go_on():
    with pytest.warns(DeprecationWarning, match="of a library") as others, heard() as found:
        for text in ("b", "a", "b"):
            warn(text)
        warnings.warn("of a library", DeprecationWarning, stacklevel=1)
    assert list(found) == ["b", "a"] and not any(issubclass(w.category, RobosacWarning) for w in others)


def test_after_an_error_too():
    with pytest.warns(DeprecationWarning, match="of a library"), pytest.raises(InputError), heard():
        warnings.warn("of a library", DeprecationWarning, stacklevel=1)
        raise InputError("expected otherwise")


def test_a_library_that_warns_is_not_said_of_the_detector(monkeypatch):
    """What stands beside the figures is this project's."""
    from robosac.experiments import opened

    def calibration(detector):
        warnings.warn("of a library", DeprecationWarning, stacklevel=1)
        warn("of the thresholds")

    monkeypatch.setattr(opened, "saved_calibration", calibration)
    with pytest.warns(DeprecationWarning, match="of a library"):
        assert opened.look_up("mean", "cpu", None).warned == ("of the thresholds",)
