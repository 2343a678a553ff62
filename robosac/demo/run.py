"""The main job: simulate held-out scenes, detect together, attack, defend, show."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from robosac import __version__
from robosac.demo.play import SceneDone, SceneJob, play_scene, tools
from robosac.demo.settings import DemoSettings
from robosac.demo.table import Row, tabulate
from robosac.evaluation.metrics import FrameRecord
from robosac.executors import Processes, default_jobs
from robosac.files import write_whole
from robosac.registry.defenses import policy
from robosac.registry.settings import plain


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What a run found. `rows` is the table, `records` every frame behind it."""

    settings: DemoSettings
    rows: list[Row]
    records: dict[tuple[int, str], list[FrameRecord]]
    scenes: list[SceneDone]
    seconds: float
    command: str
    environment: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        kinds = [s.kind for s in self.scenes]
        return {
            "command": self.command,
            "config": resolved(self.settings),
            "environment": self.environment,
            "scenes": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "seconds": self.seconds,
            "simulate_ms_a_frame": float(np.mean([s.simulate_ms for s in self.scenes])),
            "rows": [row.to_dict() for row in self.rows],
            "frames": [
                {"n_attackers": m, "policy": name, **record.to_dict()}
                for (m, name), records in self.records.items()
                for record in records
            ],
        }


def run_demo(
    settings: DemoSettings,
    *,
    jobs: int | None = None,
    threads: int = 1,
    command: str = "robosac demo",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DemoResult:
    """Play every scene and tabulate. `progress` is told how many scenes are done, and of how many."""
    start = time.perf_counter()
    tools(settings.detector, settings.attack, settings.epsilon)  # wrong names are told before any process starts
    work = [SceneJob(settings, i, picture=i < settings.pictures) for i in range(settings.scenes)]
    done: dict[int, SceneDone] = {}
    used_jobs = jobs if jobs is not None else default_jobs()
    for position, scene in Processes(jobs=used_jobs, threads=threads).run(play_scene, work):
        done[position] = scene
        progress(len(done), len(work))
    scenes = [done[i] for i in range(len(work))]
    records: dict[tuple[int, str], list[FrameRecord]] = {}
    for m in settings.attackers:
        for name in settings.policies:
            records[m, name] = [r for scene in scenes for r in scene.records[m, name]]
    return DemoResult(
        settings=settings,
        rows=tabulate(records, seed=settings.seed),
        records=records,
        scenes=scenes,
        seconds=time.perf_counter() - start,
        command=command,
        environment=environment(used_jobs, threads),
    )


def write_demo(result: DemoResult, out: Path) -> list[Path]:
    """Write result.json, the PNGs and report.html into `out`; each appears whole or not at all."""
    from robosac.demo.page import figures, page
    from robosac.viz.report import write_report

    written = [out / "result.json"]
    write_whole(written[0], (json.dumps(result.to_dict(), indent=1) + "\n").encode())
    pngs = figures(result)
    for name, png in pngs.items():
        written.append(out / f"{name}.png")
        write_whole(written[-1], png)
    return [write_report(out / "report.html", page(result, pngs)), *written]


def resolved(settings: DemoSettings) -> dict[str, Any]:
    """Settings with every preset they name spelled out."""
    from robosac.simulation import SimConfig

    _, calibration, attack = tools(settings.detector, settings.attack, settings.epsilon)
    m = max(settings.attackers)
    defenses = {t: plain(policy(n).make(m)) for t, n in settings.policies.items() if n not in ("oracle", "all-honest")}
    return {
        **plain(settings),
        "simulation": plain(SimConfig.preset(settings.preset)),
        "attack_settings": plain(attack),
        "calibration": plain(calibration),
        f"defences (with {m} attackers)": defenses,
    }


def environment(jobs: int, threads: int) -> dict[str, Any]:
    """Versions and hardware, as far as figures depend on them."""
    versions = {"robosac": __version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in ("numpy", "scipy", "torch", "embreex")}
    return {"versions": versions, "machine": platform.machine(), "jobs": jobs, "threads": threads}
