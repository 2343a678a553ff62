"""Scenarios in parallel: the same results as in one process, in the same order, whatever finishes first."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from robosac.types import InputError, RobosacError

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
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(threads,)) as pool:
        futures = {pool.submit(work, item): position for position, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise RobosacError(
                "a process was killed, perhaps for want of memory; run again, with fewer --jobs if need be"
            ) from error
        except BaseException:
            for future in futures:
                future.cancel()
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()  # what it is at may take minutes; nobody wants it any more
            raise


def _begin(threads: int) -> None:
    """Ctrl-C is the parent's to answer; if it is killed, who works for it ends too, which executors do not see to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_parent, daemon=True).start()
    set_threads(threads)


def _end_with_the_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def set_threads(threads: int) -> None:
    """Computing threads of this process."""
    import torch

    torch.set_num_threads(threads)
