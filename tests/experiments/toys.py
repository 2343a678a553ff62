"""Executors and experiments small enough for tests of the shell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.experiments.store import Done
from robosac.experiments.work import SceneDone


@dataclass
class Counting:
    """Runs nothing: every defence of every task could do nothing, `because`. Remembers the tasks."""

    because: str = "nobody played"
    tasks: list = field(default_factory=list)

    def run(self, work, items):
        self.tasks += items
        for position, task in enumerate(items):
            cannot = Done(cannot=self.because)
            yield position, SceneDone(tuple(dict.fromkeys(w.defenses, cannot) for w in task.wanted))


def played(grid: Grid, out: Path) -> int:
    """How many defences are played that no shard has, in the folder; afterwards all of them have one."""
    counting = Counting()
    run_experiment(open_experiment(grid, out), counting)
    return sum(len(w.defenses) for task in counting.tasks for w in task.wanted)
