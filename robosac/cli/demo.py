"""`robosac demo`: run the preset, print its table, write its report."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from robosac.cli import completion
from robosac.cli.options import (
    ATTACK_HELP,
    DETECTOR_HELP,
    CalibrationFile,
    Device,
    Jobs,
    Json,
    Out,
    Seed,
    Threads,
    named,
)
from robosac.cli.output import console, show_table
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.executors import default_jobs, make_executor
from robosac.experiments.demo import LEGEND, DemoSettings, attack_in_words, notes_of, rich_table, run_demo
from robosac.experiments.provenance import command_line, environment
from robosac.experiments.runner import open_experiment
from robosac.experiments.settings import budget_of

OUT: Final = Path("runs/demo")


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer scenes: under a minute on two cores.")] = False,
    out: Out = OUT,
    seed: Seed = 0,
    scenes: Annotated[
        int | None,
        typer.Option("--scenes", "-n", min=1, help="Held-out scenes, two frames each. Default: 100, with --fast 12."),
    ] = None,
    preset: Annotated[
        str, named("--preset", complete=completion.presets, help="Which simulation, as in sim:PRESET: mixed, sumo, ...")
    ] = "mixed",
    detector: Annotated[str, named("--detector", "-m", complete=completion.detectors, help=DETECTOR_HELP)] = "mean",
    attack: Annotated[str, named("--attack", "-a", complete=completion.attacks, help=ATTACK_HELP)] = "pgd",
    epsilon: Annotated[
        str | None, typer.Option(help="Budget of the attack, a number or a multiple like 2sd; default: the preset's.")
    ] = None,
    knowing_scenes: Annotated[
        int | None,
        typer.Option(min=0, help="Scenes, one frame each, under an attack that knows the defence; default 10, fast 0."),
    ] = None,
    device: Device = "cpu",
    calibration: CalibrationFile = None,
    jobs: Jobs = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Simulate traffic, let teammates attack, defend, and show the result."""
    from robosac.experiments.report import write_demo

    budget = None if epsilon is None else budget_of(epsilon)
    asked: dict[str, Any] = {"seed": seed, "preset": preset, "detector": detector, "attack": attack, "epsilon": budget}
    asked["device"] = device
    given = {"scenes": scenes, "knowing_scenes": knowing_scenes}
    asked |= {name: value for name, value in given.items() if value is not None}
    make = DemoSettings.fast if fast else DemoSettings.full
    default, settings = make(), make(**asked)
    open_experiment(settings.grid, out, calibration=calibration)  # wrong names are reported before a bar appears
    command = _command(fast, out, asked, default, calibration)
    used = default_jobs() if jobs is None else jobs
    with kept_on_stop(out), progress_bar("attacks on scenes", quiet=json) as tell:
        result = run_demo(settings, out, make_executor(used, threads=threads), calibration=calibration, tell=tell)
    made_with = environment(used, threads)
    page = write_demo(result, out, command=command, environment=made_with)[0]
    if json:
        found = {k: v for k, v in result.to_dict(command, made_with).items() if k != "frames"}
        print(dumps(found | {"out": str(out)}))
        return
    to = console()
    title = (
        f"{settings.scenes * settings.frames} frames of {settings.scenes} held-out scenes, "
        f"attack {attack_in_words(result)}, detector {settings.detector}"
    )
    show_table(rich_table(result, title), to)
    to.print(LEGEND, style="dim")
    for line in notes_of(result, warned=False):
        to.print(line, style="yellow", markup=False)
    to.print(f"\n{result.seconds:.0f} s. Look at it: {page}", markup=False)


def _command(
    fast: bool, out: Path, asked: dict[str, Any], default: DemoSettings, calibration: Path | None = None
) -> str:
    """What to type to get this run again."""
    changed = {k: v for k, v in asked.items() if v != getattr(default, k)}
    words = ["robosac demo", *(["--fast"] if fast else [])]
    return command_line(*words, **changed, calibration=calibration, out=None if out == OUT else out)
