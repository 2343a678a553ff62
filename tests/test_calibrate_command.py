"""`robosac calibrate` as its processes see it."""

from __future__ import annotations

import pytest

from robosac.cli.calibrate import Calibrate, _attack_of


def test_an_attack_is_opened_once_with_classes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are keys of what is opened once a process, and the command line gives `--classes` as a list."""
    monkeypatch.setattr(Calibrate, "available", lambda self, device: [])
    asked = [Calibrate(data="folder", attack="noise", classes=given) for given in (["Car", "Truck"], ["Car,Truck"])]
    assert _attack_of(asked[0], "cpu") is _attack_of(asked[1], "cpu")
    assert "--classes Car,Truck" in asked[0].command
