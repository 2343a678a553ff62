"""What is computed on one detector and used against another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robosac.air import Knowledge, KnowledgeError
from robosac.attacks import Bim, GpsOffset, Pgd, Scheduled, Sleeper, Transfer
from robosac.attacks.features.gradient import WHITE_BOX
from robosac.fingerprint import fingerprint
from robosac.types import Codec, InputError
from tests.attacks.cases_transfer import OtherDetector, opens, transfer_air
from tests.attacks.toy import ToyDetector
from tests.attacks.toy_pose import PosedDetector, posed_air


def send(attack, air, attackers="ab"):
    return list(attack.start("scene", frozenset(attackers), np.random.default_rng(0)).send(air))


def added(air, sent):
    return {m.sender: m.payload["features"].astype(float) - air.honest[m.sender].payload["features"] for m in sent}


def test_from_the_victims_own_detector_it_is_the_attack_itself():
    """Reading everybody, with the same model at home, nothing is lost but what is clipped twice."""
    air = transfer_air(["a", "b"], detector=ToyDetector())
    attack = Bim(steps=4)
    rng = np.random.default_rng(0)
    rng.integers(2**62)
    alone = list(attack.start("scene", frozenset("ab"), rng).send(air))
    for a, b in zip(alone, send(Transfer(attack=attack, source="toy", reads_others=True), air), strict=True):
        np.testing.assert_allclose(a.payload["features"], b.payload["features"], atol=1e-6)


def test_the_perturbation_is_the_sources_clipped_to_the_victims_range():
    air = transfer_air(["a", "b"])
    attack = Transfer(attack=Bim(epsilon=0.1, steps=3), source="other", reads_others=True)
    other = OtherDetector()
    honest = {i: other.encode(v, air.to) for i, v in air.own.items()}
    there = replace(
        air,
        honest=honest,
        knowledge=WHITE_BOX,
        _detector=other,
        _others={i: replace(m, codec="other") for i, m in air._others.items()},
    )
    rng = np.random.default_rng(0)
    rng.integers(2**62)
    at_home = {m.sender: m for m in attack.attack.start("scene", frozenset("ab"), rng).send(there)}
    for message in send(attack, air):
        clean = air.honest[message.sender].payload["features"].astype(float)
        delta = at_home[message.sender].payload["features"].astype(float) - honest[message.sender].payload["features"]
        np.testing.assert_allclose(message.payload["features"], np.clip(clean + delta, 0, 1), atol=1e-6)


def test_it_needs_neither_the_model_nor_by_default_the_others():
    attack = Transfer(attack=Pgd(steps=2), source="other")
    assert attack.knowledge == Knowledge.VICTIM
    assert replace(attack, reads_others=True).knowledge == Knowledge.VICTIM | Knowledge.TEAMMATES
    few, many = transfer_air(["a"], ["x"], knowledge=Knowledge.VICTIM), transfer_air(["a"], ["x", "y", "z"])
    (a,), (b,) = send(attack, few), send(attack, many)
    assert (a.payload["features"] == b.payload["features"]).all()
    with pytest.raises(KnowledgeError, match="the victim's view"):
        send(attack, transfer_air(["a"], knowledge=Knowledge.MODEL | Knowledge.TEAMMATES))


class WideDetector(OtherDetector):
    def features(self, view):
        return np.concatenate([super().features(view)] * 2)

    @property
    def codec(self):
        return Codec("wide", {"features": ((6, 4, 5), "float32", 0.0, 1.0), "slots": ((None,), "int64", 0, 99)})

    def open(self, ego, to, messages):
        def half(m):
            return m.with_payload(features=m.payload["features"][:3])

        session = ToyDetector.open(self, ego, to, [half(m) for m in messages])
        session.ego = session.ego[:3]
        inner = session.logits
        session.logits = lambda payloads, subsets: inner(
            {i: {"features": p["features"][:3]} for i, p in payloads.items()}, subsets
        )
        return session


@pytest.mark.parametrize("reads_others", [False, True])
def test_another_shape_is_an_error_that_says_so(reads_others):
    air = posed_air(["a"], opens=lambda name: WideDetector())
    attack = Transfer(attack=Pgd(steps=1), source="wide", reads_others=reads_others)
    with pytest.raises(InputError, match=r"to send 'features' in one shape, got \(6, 4, 5\) and \(3, 4, 5\)"):
        send(attack, air)


def test_a_source_must_be_opened_by_somebody():
    with pytest.raises(InputError, match="expected an evaluation that opens detectors for attackers"):
        send(Transfer(attack=Pgd(), source="other"), posed_air(["a"]))
    with pytest.raises(KeyError):
        send(Transfer(attack=Pgd(), source="none"), posed_air(["a"], opens=opens))


def test_it_harms_a_victim_that_is_blind_to_gradients():
    air = posed_air(["a"], detector=PosedDetector(differentiable=False), opens=opens)
    (malicious,) = send(Transfer(attack=Bim(steps=2), source="toy"), air)
    assert Bim().perturbation_size(air.honest["a"], [malicious]) > 0.1


@pytest.mark.parametrize("prefix", ["", "late:"])
def test_other_weights_under_an_old_name_are_another_attack(tmp_path, prefix):
    weights = tmp_path / "source.safetensors"
    attack = Scheduled(attack=Transfer(attack=Pgd(), source=f"{prefix}{weights}"))
    weights.write_bytes(b"first")
    first = fingerprint(attack)
    assert fingerprint(attack) == first != fingerprint(replace(attack, when=Sleeper()))
    weights.write_bytes(b"other")
    assert fingerprint(attack) != first
    shipped = [fingerprint(Transfer(attack=Pgd(), source=name).fingerprint()[3:]) for name in ("max", "mean", "none")]
    assert len(set(shipped)) == 3  # what is read of a shipped detector is its weights


def test_other_code_or_another_checkpoint_under_an_old_name_is_another_attack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text("import helper_of_theirs")
    (tmp_path / "model").mkdir()
    files = {
        "theirs:make": tmp_path / "helper_of_theirs.py",
        "opencood:model@net_epoch7.pth": tmp_path / "model" / "net_epoch7.pth",
        "opencood:model": tmp_path / "model" / "config.yaml",
        "coperception:mean:epoch_9.pth": tmp_path / "epoch_9.pth",
    }
    for source, path in files.items():
        attack = Transfer(attack=Pgd(), source=source)
        path.write_text("a = 1")
        first = fingerprint(attack)
        assert fingerprint(attack) == first
        path.write_text("a = 2")
        assert fingerprint(attack) != first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Transfer(attack=GpsOffset(), source="max"), "to act on features, got one on pose"),
        (lambda: Transfer(attack=Pgd(), source=""), "to be the name of a detector, got ''"),
        (lambda: Transfer(attack=Pgd(), source="max", reads_others=1), "reads_others of Transfer to be a bool"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()
