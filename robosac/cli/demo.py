"""`robosac demo`: run the preset, print its table, write its report."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from robosac.cli.options import Device, Jobs, Json, Out, Seed, Threads
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.executors import default_jobs, make_executor
from robosac.experiments.demo import LEGEND, DemoSettings, attack_in_words, rich_table, run_demo
from robosac.experiments.notes import notes
from robosac.experiments.provenance import command_line, environment
from robosac.experiments.runner import open_experiment
from robosac.experiments.settings import budget_of

OUT: Final = Path("runs/demo")


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer scenes: under a minute on two cores.")] = False,
    out: Out = OUT,
    seed: Seed = 0,
    scenes: Annotated[int | None, typer.Option(min=1, help="Held-out scenes, two frames each.")] = None,
    preset: Annotated[str, typer.Option(help="Which simulation, as in sim:PRESET: mixed, sumo, ...")] = "mixed",
    detector: Annotated[str, typer.Option(help="Name of a shipped detector.")] = "mean",
    attack: Annotated[str, typer.Option(help="Name of an attack preset.")] = "pgd",
    epsilon: Annotated[
        str | None, typer.Option(help="Budget of the attack, a number or a multiple like 2sd; default: the preset's.")
    ] = None,
    knowing_scenes: Annotated[
        int | None,
        typer.Option(min=0, help="Scenes, one frame each, under an attack that knows the defence; default 10, fast 0."),
    ] = None,
    device: Device = "cpu",
    jobs: Jobs = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Simulate traffic, let teammates attack, defend, and show the result."""
    from rich.console import Console

    from robosac.experiments.report import write_demo

    budget = None if epsilon is None else budget_of(epsilon)
    named: dict[str, Any] = {"seed": seed, "preset": preset, "detector": detector, "attack": attack, "epsilon": budget}
    named["device"] = device
    given = {"scenes": scenes, "knowing_scenes": knowing_scenes}
    named |= {name: value for name, value in given.items() if value is not None}
    make = DemoSettings.fast if fast else DemoSettings.full
    default, settings = make(), make(**named)
    open_experiment(settings.grid, out)  # wrong names are reported before a bar appears
    command = _command(fast, out, named, default)
    used = default_jobs() if jobs is None else jobs
    with kept_on_stop(out), progress_bar("attacks on scenes", quiet=json) as tell:
        result = run_demo(settings, out, make_executor(used, threads=threads), tell=tell)
    made_with = environment(used, threads)
    page = write_demo(result, out, command=command, environment=made_with)[0]
    if json:
        found = {k: v for k, v in result.to_dict(command, made_with).items() if k != "frames"}
        print(dumps(found | {"out": str(out)}))
        return
    console = Console(highlight=False)
    title = (
        f"{settings.scenes * settings.frames} frames of {settings.scenes} held-out scenes, "
        f"attack {attack_in_words(result)}, detector {settings.detector}"
    )
    console.print(rich_table(result, title))
    console.print(LEGEND, style="dim")
    for line in notes([r.entry for r in (*result.rows, *result.knowing)], warned=False):
        console.print(line, style="yellow", markup=False)
    console.print(f"\n{result.seconds:.0f} s. Look at it: {page}", soft_wrap=True)


def _command(fast: bool, out: Path, named: dict[str, Any], default: DemoSettings) -> str:
    """What to type to get this run again."""
    changed = {k: v for k, v in named.items() if v != getattr(default, k)}
    words = ["robosac demo", *(["--fast"] if fast else [])]
    return command_line(*words, **changed, out=None if out == OUT else out)
