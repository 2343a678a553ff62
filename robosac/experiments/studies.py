"""Work that is no grid of attacks and defences, done once for each item: stopped, it goes on where it was.

A benchmark that measures something of its own on many scenes hands its function here; executors, files and resuming are
those of an experiment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from robosac.executors import Executor
from robosac.experiments import provenance
from robosac.experiments.runner import Tell
from robosac.files import check_writable, write_whole
from robosac.fingerprint import fingerprint
from robosac.lock import alone_in

T = TypeVar("T")


def study(
    work: Callable[[T], Any],
    items: Sequence[T],
    out: Path,
    executor: Executor,
    *,
    decides: Any = None,
    tell: Tell = lambda done, total: None,
) -> list[Any]:
    """What `work` gives for each item, in their order.

    Args:
        work: a function of a module, or a partial of one; its results are plain JSON data.
        items: plain data.
        out: where results are kept: a file for each item, named by a fingerprint of item, work, versions and `decides`.
        executor: where work is done.
        decides: what else the results depend on, such as a detector.
        tell: hears how many items are done, and of how many.

    Raises:
        InputError: `out` cannot be written to, or another run is at work there.
    """
    check_writable(out)
    same = fingerprint(provenance.versions(), work, decides)
    paths = [out / f"{fingerprint(same, item)}.json" for item in items]
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out):
        todo = [k for k, path in enumerate(paths) if not path.exists()]
        tell(len(items) - len(todo), len(items))
        for done, (position, found) in enumerate(executor.run(work, [items[k] for k in todo]), 1):
            write_whole(paths[todo[position]], json.dumps(found).encode())
            tell(len(items) - len(todo) + done, len(items))
    return [json.loads(path.read_bytes()) for path in paths]
