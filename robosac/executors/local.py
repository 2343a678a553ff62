"""Executors of this machine: in this process, in several."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread, current_thread, main_thread
from typing import Protocol, TypeVar

from robosac import progress
from robosac.errors import InputError, RobosacError, RobosacWarning, set_warnings_in_a_line

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """A value that says where work is done."""

    def run(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """`(position, work(item))` as they are done, in any order.

        `work` is a function of a module and the items are plain data, so that both can go to another process.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Serial:
    """In this process, one item after another. `threads` compute; None leaves their number as it is."""

    threads: int | None = None

    def __post_init__(self) -> None:
        at_least_one(threads=self.threads)

    def run(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        set_threads(self.threads)
        board = progress.Board(len(items))
        with progress.read(board):
            for position, item in enumerate(items):
                with progress.item(board, position):
                    result = work(item)
                board.shares[position] = 0.0
                yield position, result


@dataclass(frozen=True, kw_only=True)
class Processes:
    """In `jobs` processes of this machine, `threads` computing threads each. `cuda` deals its GPUs out to them."""

    jobs: int
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least_one(jobs=self.jobs, threads=self.threads)

    def run(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """As `Executor.run`.

        Raises:
            RobosacError: a process was killed.
        """
        if self.jobs == 1 or len(items) <= 1:
            yield from Serial(threads=self.threads).run(work, items)
            return
        # spawn: a forked child would inherit torch's thread pools in an unusable state
        jobs, context = min(self.jobs, len(items)), get_context("spawn")
        board = progress.Board(len(items), context)
        begin = (self.threads, board)
        with progress.read(board), ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=begin) as pool:
            try:
                with _ctrl_c_for_this_process_alone():
                    futures = {pool.submit(_work, work, k, item): k for k, item in enumerate(items)}
                for future in as_completed(futures):
                    position, result = futures[future], future.result()
                    board.shares[position] = 0.0
                    yield position, result
            except BrokenProcessPool as error:
                raise RobosacError(
                    "a process was killed, perhaps for want of memory; what was done is kept where the command keeps "
                    "it, run again, with fewer --jobs if need be"
                ) from error
            except BaseException:  # futures that are cancelled here would make the pool's own thread raise
                for process in list((getattr(pool, "_processes", None) or {}).values()):
                    process.terminate()  # what it does may take minutes, and nobody waits for it any more
                raise


def default_jobs() -> int:
    """Processes to use where nobody says: one a core, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(8, cores))


def set_threads(threads: int | None) -> None:
    """Computing threads of this process; None changes nothing."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


_board: progress.Board | None = None  # of the process that waits, in its workers


def _work(work: Callable[[T], R], position: int, item: T) -> R:
    """One item in a worker."""
    with progress.item(_board, position):
        return work(item)


def _begin(threads: int | None, board: progress.Board) -> None:
    """Ctrl-C is for the parent to handle; a worker whose parent was killed ends too, which pools do not see to."""
    global _board
    _board = board
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_warnings_in_a_line()
    warnings.simplefilter("ignore", RobosacWarning)  # each process would say it again: who hands out the work says it
    Thread(target=_end_with_the_parent, daemon=True).start()
    set_threads(threads)


def _end_with_the_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _ctrl_c_for_this_process_alone() -> Iterator[None]:
    """Processes that are started inside never hear of Ctrl-C, not even while they start: they inherit what is held
    back here. This process hears of it at the end."""
    if not hasattr(signal, "pthread_sigmask") or current_thread() is not main_thread():  # Windows; nobody's Ctrl-C
        yield
        return
    heard: list[int] = []  # by another thread of this process, which is not held back
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if heard:
        raise KeyboardInterrupt


def at_least_one(**numbers: int | None) -> None:
    """InputError where one of these is below 1; None is nobody's choice."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise InputError(f"expected {name} >= 1, got {value}")
