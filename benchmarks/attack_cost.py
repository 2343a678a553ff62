"""What an attack costs beside the passes that it needs: PGD on one frame against bare forward and backward passes.

    python -m benchmarks.attack_cost                     # shipped mean fusion, 15 steps, 2 attackers
    python -m benchmarks.attack_cost --detector attention --attackers 1 --steps 40

`pass` is one forward and one backward pass through fusion and decoder, `session.logits` of the full fusion with free
attackers' features and a loss's `backward`; `attack` is `send` as a whole: opening the session (which encodes the ego),
the look at the clean frame, every step, the messages. Both in turns, medians, on one thread unless --threads says
otherwise. The bar: the attack costs at most 1.25 times as much as its passes.
"""

from __future__ import annotations

import statistics
import sys
from typing import Final

import torch
from torch.nn import functional as F

from benchmarks.machine import Option, first_frame, in_turns, options, verdict
from robosac import attacks, detectors
from robosac.evaluation.play import attacked_air, choose_attackers, encode_frames
from robosac.types import keyed_rng

BAR: Final = 1.25


def main() -> int:
    args = options(
        __doc__,
        detector="mean",
        attack=Option("pgd", "a preset that has steps"),
        attackers=2,
        steps=15,
        repeats=5,
        threads=1,
    )
    torch.set_num_threads(args.threads)

    detector = detectors.load(args.detector)
    (staged,) = encode_frames([first_frame("val", 0)], detector)
    frame, request, honest = staged.frame, staged.request, staged.honest
    chosen = choose_attackers(0, frame.scenario, sorted(honest), args.attackers)
    attack = attacks.load(args.attack, steps=args.steps)
    attacker = attack.start(frame.scenario, chosen, keyed_rng(0, frame.scenario, "attack"))
    air = attacked_air(frame, detector, request, honest, chosen, attack.knowledge)

    session = detector.open(frame.ego, request, list(honest.values()))
    free = {
        i: {n: torch.from_numpy(a.copy()).requires_grad_() for n, a in honest[i].payload.items()}
        for i in sorted(chosen)
    }
    everybody = [frozenset(honest)]

    def passes() -> None:
        for _ in range(args.steps):
            logits = session.logits(free, everybody)
            F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits)).backward()  # type: ignore[no-untyped-call]
            for arrays in free.values():
                for x in arrays.values():
                    x.grad = None

    ways = {f"{args.steps} passes": passes, "attack": lambda: attacker.send(air)}
    bare, whole = in_turns(ways, args.repeats).values()
    ratio = statistics.median(w / b for w, b in zip(whole, bare, strict=True))
    print(f"{args.attack} x {args.steps} steps, {args.attackers} of {len(honest)} attackers, {args.detector} fusion")
    print(f"  {args.steps} passes {statistics.median(bare):8.0f} ms")
    print(f"  attack    {statistics.median(whole):8.0f} ms")
    print(f"  ratio     {ratio:8.2f}     bar <= {BAR}     {verdict(ratio <= BAR)}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
