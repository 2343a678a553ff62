"""Scenarios in parallel: the same results as in one process, in the same order, whatever finishes first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

from robosac.types import InputError

T = TypeVar("T")
R = TypeVar("R")


def default_jobs() -> int:
    """Processes to use where nobody says: one a core, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(8, cores))


def run_all(work: Callable[[T], R], items: Sequence[T], *, jobs: int, threads: int = 1) -> Iterator[tuple[int, R]]:
    """`(position, work(item))` as they are done. Every process computes with `threads` threads, so that `jobs`
    changes the time and nothing else. `work` and the items must be picklable where `jobs > 1`.
    """
    if jobs < 1 or threads < 1:
        raise InputError(f"expected jobs >= 1 and threads >= 1, got {jobs} and {threads}")
    if jobs == 1 or len(items) <= 1:
        set_threads(threads)
        for position, item in enumerate(items):
            yield position, work(item)
        return
    # spawn: a forked child would inherit torch's thread pools in an unusable state
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=set_threads, initargs=(threads,)) as pool:
        futures = {pool.submit(work, item): position for position, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def set_threads(threads: int) -> None:
    """Computing threads of this process."""
    import torch

    torch.set_num_threads(threads)
