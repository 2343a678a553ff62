"""What rivals learn of a detector: MADE's autoencoder, CP-Guard+'s classifier, GCP's honest flow.

Honest residuals of training scenes train the autoencoder; the same and attacked ones the classifier. Their honest
scores, and those of the flow, come from calibration scenes. Nothing is read off validation or test scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np

from robosac.defenses.rivals.concordance import Flow, flow_loss
from robosac.defenses.rivals.frame import Look
from robosac.defenses.rivals.learned import AUTOENCODER, CLASSIFIER, FLOW, Network, described, patches
from robosac.defenses.rivals.made import reconstruction
from robosac.defenses.rivals.residual_classifier import probability
from robosac.evaluation.play import attacked_air, choose_attackers
from robosac.executors import make_executor
from robosac.registry.attacks import open_attack
from robosac.registry.detectors import cached_detector
from robosac.simulation import scenario
from robosac.types import Array, Detector, Float32, Frame, InputError, Request, keyed_rng

KEPT: Final = 48  # patches of a teammate that are trained on
HIDDEN: Final = (96, 24, 96)
Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class RivalTraining:
    """What is trained on what.

    Attributes:
        detector: whose features.
        scenes: training scenes; calibration: scenes whose honest scores are kept, two frames each.
        attacks: what the classifier learns to tell, one a scene in turn.
        steps: of either training.
        seed: of scenes, draws and first weights.
    """

    detector: str = "mean"
    scenes: int = 24
    calibration: int = 40
    attacks: tuple[str, ...] = ("pgd:steps=5", "cw:steps=5", "noise", "feature_shift")
    steps: int = 1500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("scenes", "calibration", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"expected {name} of at least 1, got {getattr(self, name)}")


def looked_at(detector: Detector, frame: Frame) -> Look:
    """An honest frame as a rival sees it."""
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])
    return Look(session, frame.ego, to, detector)


def residuals(s: RivalTraining, index: int) -> tuple[Float32, Float32, Float32]:
    """Of one training scene: patches of honest residuals, descriptions of honest and of attacked ones."""
    detector = cached_detector(s.detector, "cpu", None)
    frame, _ = scenario("train", index, seed=s.seed).snapshot(0).frame()
    rng = keyed_rng(s.seed, frame.scenario, "rivals")
    to = Request.of(frame.ego)
    honest = {i: detector.encode(v, to) for i, v in frame.others.items()}
    look = Look(detector.open(frame.ego, to, list(honest.values())), frame.ego, to, detector)
    own, found, fine, bad = look.own_map, [], [], []
    if own is None or own.features.shape[0] == 1:
        raise InputError(f"expected a detector that sends features, got {s.detector}; boxes have no residual to learn")
    for i in look.ids:
        sent = look.map_of(i)
        assert sent is not None
        every = patches(own, sent)
        found.append(every[rng.permutation(len(every))[:KEPT]])
        fine.append(described(own, sent))
    attack = open_attack(s.attacks[index % len(s.attacks)])
    attackers = choose_attackers(s.seed, frame.scenario, list(honest), 2)
    air = attacked_air(frame, detector, to, honest, attackers, attack.knowledge)
    sent_by = {m.sender: m for m in attack.start(frame.scenario, attackers, rng).send(air)}
    attacked = Look(detector.open(frame.ego, to, list({**honest, **sent_by}.values())), frame.ego, to, detector)
    for i in sorted(attackers & set(sent_by)):
        sent = attacked.map_of(i)
        bad.append(None if sent is None else described(own, sent))
    kept = [np.array([d for d in part if d is not None], np.float32) for part in (fine, bad)]
    return np.concatenate(found), kept[0], kept[1]


def honest(s: RivalTraining, networks: Mapping[str, Network], index: int) -> dict[str, list[float]]:
    """Of one calibration scene: each teammate's reconstruction loss, probability and flow loss.

    Teammates of one frame look alike, so that these are worth fewer than as many frames; no promise is made of them.
    """
    detector = cached_detector(s.detector, "cpu", None)
    scene, flow = scenario("calibration", index, seed=s.seed), Flow()
    found: dict[str, list[float]] = {AUTOENCODER: [], CLASSIFIER: [], FLOW: []}
    for k in range(2):
        look = looked_at(detector, scene.snapshot(k).frame()[0])
        if not look.ids:
            break
        own, sent_by = look.own_map, {i: look.map_of(i) for i in look.ids if k == 0}
        for sent in sent_by.values():
            if own is not None and sent is not None:
                values = (
                    reconstruction(networks[AUTOENCODER], own, sent),
                    probability(networks[CLASSIFIER], own, sent),
                )
                for name, value in zip((AUTOENCODER, CLASSIFIER), values, strict=True):
                    found[name] += [] if value is None else [value]
        predicted = flow.predicted(look)
        if predicted is not None:
            found[FLOW] += [flow_loss(look, predicted, look.own, r, 0.3) for r in look.singles().values()]
        flow.learn(look, look.result(frozenset(look.ids)))
    return found


def trained(s: RivalTraining, jobs: int | None, tell: Tell = lambda done, total: None) -> tuple[dict[str, Array], Any]:
    """Arrays for `robosac.defenses.rivals.learned`, and what to say of them."""
    total = s.scenes + s.calibration
    parts: dict[int, Any] = {}
    for at, part in make_executor(jobs, threads=1).run(partial(residuals, s), range(s.scenes)):
        parts[at] = part
        tell(len(parts), total)
    every, fine, bad = (np.concatenate([parts[k][n] for k in range(s.scenes)]) for n in range(3))
    autoencoder, loss = _autoencoder(s, every)
    classifier, right = _classifier(s, fine, bad)
    networks = {AUTOENCODER: autoencoder, CLASSIFIER: classifier}
    kept: dict[int, dict[str, list[float]]] = {}
    for at, scores in make_executor(jobs, threads=1).run(partial(honest, s, networks), range(s.calibration)):
        kept[at] = scores
        tell(s.scenes + len(kept), total)
    arrays: dict[str, Array] = {}
    for name, network in networks.items():
        arrays |= {k: v.astype(np.float16) if v.ndim == 2 else v for k, v in network.arrays(name).items()}
    for name in (AUTOENCODER, CLASSIFIER, FLOW):
        arrays[f"{name}.honest"] = np.sort([v for k in range(s.calibration) for v in kept[k][name]]).astype(np.float32)
    said = {
        "config": asdict(s),
        "patches": len(every),
        "residuals": {"honest": len(fine), "attacked": len(bad)},
        "autoencoder_loss": round(loss, 4),
        "classifier_right_on_train": round(right, 4),
        "honest": {name: len(arrays[f"{name}.honest"]) for name in (AUTOENCODER, CLASSIFIER, FLOW)},
    }
    return arrays, said


def _autoencoder(s: RivalTraining, inputs: Float32) -> tuple[Network, float]:
    """Trained to give back standardised patches; the mean loss of the last tenth of the steps."""
    import torch

    torch.manual_seed(s.seed)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 0.02
    net, data = _layers((inputs.shape[1], *HIDDEN, inputs.shape[1])), torch.from_numpy((inputs - mean) / scale)
    rng, losses = keyed_rng(s.seed, "rivals", "autoencoder"), []
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(s.steps):
        batch = data[torch.from_numpy(rng.integers(len(data), size=256))]
        loss = ((net(batch) - batch) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return _network(net, mean, scale), float(np.mean(losses[-max(1, s.steps // 10) :]))


def _classifier(s: RivalTraining, fine: Float32, bad: Float32) -> tuple[Network, float]:
    """Logistic loss, both kinds of equal weight, and a pull of each kind's hidden values towards their centre."""
    import torch

    torch.manual_seed(s.seed)
    inputs = np.concatenate([fine, bad])
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    net = _layers((inputs.shape[1], 32, 32, 1))
    data, kind = torch.from_numpy((inputs - mean) / scale), torch.arange(len(inputs)) >= len(fine)
    weight = torch.where(kind, 1.0 / len(bad), 1.0 / len(fine))
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-3)
    for _ in range(s.steps):
        hidden = net[:-1](data)
        logits = net[-1](hidden)[:, 0]
        spread = sum(((hidden[k] - hidden[k].mean(dim=0)) ** 2).mean() for k in (kind, ~kind))
        logistic = torch.nn.functional.binary_cross_entropy_with_logits(logits, kind.float(), reduction="none")
        loss = (weight * logistic).sum() + 0.01 * spread
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = ((net(data)[:, 0] > 0) == kind).float().mean()
    return _network(net, mean, scale), float(right)


def _layers(sizes: Sequence[int]) -> Any:
    import torch

    layers: list[Any] = []
    for a, b in pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _network(net: Any, mean: Float32, scale: Float32) -> Network:
    held = [layer for layer in net if hasattr(layer, "weight")]
    layers = tuple((m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in held)
    return Network(layers, mean.astype(np.float32), scale.astype(np.float32))
