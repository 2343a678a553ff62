"""`robosac demo`: run the main job, print its table, write its report."""

from __future__ import annotations

import shlex
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from robosac.cli.options import Jobs, Json, Out, Seed, Threads
from robosac.cli.progress import progress_bar
from robosac.demo.play import tools
from robosac.demo.run import run_demo, write_demo
from robosac.demo.settings import DemoSettings
from robosac.demo.table import LEGEND, rich_table
from robosac.files import check_writable

OUT: Final = Path("runs/demo")


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer scenes: under a minute on two cores.")] = False,
    out: Out = OUT,
    seed: Seed = 0,
    scenes: Annotated[int | None, typer.Option(min=1, help="Held-out scenes, two frames each.")] = None,
    detector: Annotated[str, typer.Option(help="Name of a shipped detector.")] = "mean",
    attack: Annotated[str, typer.Option(help="Name of an attack preset.")] = "pgd",
    epsilon: Annotated[float | None, typer.Option(help="Budget of the attack; default: the preset's.")] = None,
    jobs: Jobs = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Simulate traffic, let teammates attack, defend, and show what came of it."""
    from rich.console import Console

    check_writable(out)  # arguments that cannot work are told before anything is shown or simulated
    changes: dict[str, Any] = {
        "seed": seed,
        "detector": detector,
        "attack": attack,
        "epsilon": epsilon,
        **({} if scenes is None else {"scenes": scenes}),
    }
    settings = DemoSettings.fast(**changes) if fast else DemoSettings(**changes)
    tools(settings.detector, settings.attack, settings.epsilon)  # wrong names are told before a bar appears
    command = _command(fast, out, changes, DemoSettings.fast() if fast else DemoSettings())
    with progress_bar("scenes", quiet=json) as tell:
        result = run_demo(settings, jobs=jobs, threads=threads, command=command, progress=tell)
    files = write_demo(result, out)
    if json:
        print(dumps({k: v for k, v in result.to_dict().items() if k != "frames"} | {"out": str(out)}))
        return
    console = Console(highlight=False)
    title = (
        f"{settings.scenes * settings.frames} frames of {settings.scenes} held-out scenes, "
        f"attack {settings.attack}{'' if epsilon is None else f' eps {epsilon:g}'}, detector {settings.detector}"
    )
    console.print(rich_table(result.rows, title))
    console.print(LEGEND, style="dim")
    console.print(f"\n{result.seconds:.0f} s. Look at it: {files[0]}", soft_wrap=True)


def _command(fast: bool, out: Path, changes: dict[str, Any], default: DemoSettings) -> str:
    """What to type to get this run again."""
    options = [f"--{k} {shlex.quote(str(v))}" for k, v in changes.items() if v != getattr(default, k)]
    where = [] if out == OUT else [f"--out {shlex.quote(str(out))}"]
    return " ".join(["robosac demo", *(["--fast"] if fast else []), *options, *where])
