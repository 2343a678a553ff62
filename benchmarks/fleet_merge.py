"""What a server's merge costs, factored against dense. `python -m benchmarks.fleet_merge`

The convolutions of a 27 MiB backbone for six clients, and square layers as the stacked rank R grows: a merge of
low-rank updates and what each client is given, by stacked factors and by the singular value decomposition of their
product. Seconds of the processor, all threads together, since a machine may be shared; where R nears min(m, n) nothing
is gained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import svd

from benchmarks.machine import Option, describe, machine, options
from robosac.executors import set_threads
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.lowrank import LowRankUpdate, norm

RANKS = (2, 4, 4, 8, 8, 16)
# (out, in * k * k) of twenty convolutions
BACKBONE = (
    *((64, 576),) * 4,
    (128, 576),
    *((128, 1152),) * 5,
    (256, 1152),
    *((256, 2304),) * 7,
    *((384, 2304),) * 2,
)


def drawn(m: int, n: int, ranks: Sequence[int], rng: np.random.Generator) -> list[LowRankUpdate]:
    """Updates of a layer, of these ranks."""
    return [LowRankUpdate(rng.normal(size=(m, r)), rng.normal(size=(r, n)), 16 / r, 10) for r in ranks]


def factored(updates: Sequence[LowRankUpdate], ranks: Sequence[int]) -> list[LowRankUpdate]:
    """Merge, and cut for each client."""
    rule, weights = FlexLora(), [1 / len(updates)] * len(updates)
    merged = rule.merge(updates, weights)
    return [LowRankUpdate(merged.b[:, :r], merged.a[:r]) for r in ranks]


def dense(updates: Sequence[LowRankUpdate], ranks: Sequence[int]) -> list[LowRankUpdate]:
    """The same by the product: one decomposition for all clients."""
    product = sum(u.dense for u in updates) / len(updates)
    u, s, vt = svd(product, full_matrices=False)
    return [LowRankUpdate(u[:, :r] * s[:r], vt[:r]) for r in ranks]


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


def difference(x: Sequence[LowRankUpdate], y: Sequence[LowRankUpdate]) -> float:
    """Largest relative difference of what clients are given."""
    return max(norm(a.minus(b)) / norm(b) for a, b in zip(x, y, strict=True))


def main() -> None:
    args = options(
        __doc__,
        size=Option(2048, "of the square layer"),
        ranks=Option((32, 96, 204, 408, 1024, 1672), "R of the square layer"),
        threads=Option(1, "of the linear algebra"),
        no_dense=False,
    )
    set_threads(args.threads)
    print(describe(machine(args.threads)))
    rng = np.random.default_rng(0)
    layers = [drawn(m, n, RANKS, rng) for m, n in BACKBONE]
    size = sum(m * n for m, n in BACKBONE) * 4 / 2**20
    sent = sum(4 * r * (m + n) for m, n in BACKBONE for r in RANKS) * 2 / 2**20
    whole = 2 * len(RANKS) * size
    print(f"\n{len(BACKBONE)} convolutions, {size:.1f} MiB; clients of ranks {RANKS}")
    print(f"messages of a round: {sent:.1f} MiB low-rank, {whole:.0f} MiB full FedAvg, {whole / sent:.1f} times")
    factored(layers[0], RANKS)  # whatever is loaded the first time
    fast = seconds(lambda: [factored(u, RANKS) for u in layers])
    print(f"merge of a round: {fast:.2f} s factored", end="")
    if not args.no_dense:
        slow = seconds(lambda: [dense(u, RANKS) for u in layers])
        apart = max(difference(factored(u, RANKS), dense(u, RANKS)) for u in layers[:12:4])
        print(f", {slow:.2f} s dense, {slow / fast:.1f} times; relative difference {apart:.1e}", end="")
    print(f"\n\n| {args.size} x {args.size}, R | R / min(m, n) | factored s | dense s | times |\n|--:|--:|--:|--:|--:|")
    reference = None
    for total in args.ranks:
        ranks = [total // 6] * 5 + [total - 5 * (total // 6)]
        updates = drawn(args.size, args.size, ranks, rng)
        fast = seconds(lambda updates=updates: factored(updates, (16,)))  # type: ignore[misc]
        if not args.no_dense:
            reference = seconds(lambda updates=updates: dense(updates, (16,)))  # type: ignore[misc]
        times = "–" if reference is None else f"{reference / fast:.1f}"
        slow_text = "–" if reference is None else f"{reference:.2f}"
        print(f"| {total} | {total / args.size:.2f} | {fast:.2f} | {slow_text} | {times} |", flush=True)


if __name__ == "__main__":
    main()
