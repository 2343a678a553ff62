"""`python -m robosac.language.pretrain`: makes the tiny language model that a fleet begins with."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from robosac.files import check_writable
from robosac.language.domains import DOMAINS, domain, primer
from robosac.language.tiny import SHIPPED, TinyConfig, TinyLM, save
from robosac.language.tuning import Bytes, accuracy, batch_of, loss_of
from robosac.randomness import keyed_rng


def pretrain(
    config: TinyConfig,
    *,
    steps: int,
    batch: int = 96,
    lr: float = 2e-3,
    seed: int = 0,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> TinyLM:
    """A model that has read the primer. The same arguments, the same model."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = TinyLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    rng, tokens = keyed_rng("primer", seed), Bytes(config.context)
    for step in range(steps):
        share = min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = lr * share
        ids, wanted = batch_of([primer(rng) for _ in range(batch)], tokens)
        loss = loss_of(model(ids), ids, wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        tell(step + 1, float(loss.detach()))
    return model.eval()


def main() -> None:
    """Train and write the file, with the accuracy of each domain before any tuning."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    asked = parser.parse_args()
    check_writable(asked.out.parent)
    torch.set_num_threads(1)
    began = time.perf_counter()

    def tell(step: int, loss: float) -> None:
        if step % 100 == 0:
            print(f"{step} of {asked.steps}: loss {loss:.3f}, {time.perf_counter() - began:.0f} s", flush=True)

    model = pretrain(TinyConfig(), steps=asked.steps, seed=asked.seed, tell=tell)
    tokens = Bytes(model.config.context)
    for name in DOMAINS:
        found = accuracy(model, domain(name, (1, 1, 120)).test, tokens)
        print(f"{name}: {100 * found:.1f} % right before tuning")
    print(save(asked.out, model, {"steps": asked.steps, "seed": asked.seed}))


if __name__ == "__main__":
    main()
