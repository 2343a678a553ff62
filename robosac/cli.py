"""The command line: parses, validates and hands over. Each command imports its room only when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from robosac import __version__
from robosac.errors import InputError, RobosacError


class _Stoppable(TyperGroup):
    """Ctrl-C is told in a line. Caught here, because what typer itself makes of it differs from version to version."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("robosac: stopped", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="robosac",
    cls=_Stoppable,
    help="A lying teammate does no harm: consensus defence for V2X collaborative 3D detection.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="Driving data sets on disk.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]
DETECTOR_HELP = (
    "A shipped name (mean, max, ...), FILE.safetensors, late:NAME or early:NAME of these (boxes or points are sent), an"
    " OpenCOOD model FOLDER, coperception:FUSION:CHECKPOINT, or MODULE:NAME of your own."
)
DetectorName = Annotated[str, typer.Option(help=DETECTOR_HELP)]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1; with cuda, processes take the GPUs in turn.")]
Root = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="A checkout of the detector's framework, if it is not installed."),
]
Out = Annotated[Path, typer.Option(file_okay=False, help="Folder to write to; made where it does not exist.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robosac {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def budget(
    teammates: Annotated[int, typer.Option(help="A: agents other than the ego.")],
    attackers: Annotated[int | None, typer.Option(help="m: how many of them attack.")] = None,
    ratio: Annotated[
        str | None, typer.Option(help="m/A instead of --attackers, like 0.4 or 2/5; rounded up to whole attackers.")
    ] = None,
    subset: Annotated[int | None, typer.Option(help="s: teammates drawn in a trial.")] = None,
    confidence: Annotated[str, typer.Option(help="p: wanted probability of success.")] = "0.99",
    max_trials: Annotated[int | None, typer.Option(help="A given budget: which subset can be the largest?")] = None,
    table: Annotated[bool, typer.Option("--table", help="Every number of attackers and subset size.")] = False,
    false_accept: Annotated[str, typer.Option(help="a: a contaminated subset is accepted.")] = "0",
    false_reject: Annotated[str, typer.Option(help="b: an attacker-free subset (or a whole frame) is refused.")] = "0",
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Picture of success over trials (.png .pdf .svg).")
    ] = None,
    json: Json = False,
) -> None:
    """How many random subsets to try, and how large they may be.

    Without --attackers and --ratio: the probing limits (A2CP) for an unknown number of attackers.
    """
    from robosac.commands.budget import Question, run

    question = Question(
        teammates=teammates,
        attackers=attackers,
        ratio=ratio,
        subset=subset,
        confidence=confidence,
        max_trials=max_trials,
        table=table,
        false_accept=false_accept,
        false_reject=false_reject,
    )
    run(question, plot=plot, as_json=json)


@app.command()
def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer scenes: under a minute on two cores.")] = False,
    out: Out = Path("runs/demo"),
    seed: Seed = 0,
    scenes: Annotated[int | None, typer.Option(min=1, help="Held-out scenes, two frames each.")] = None,
    detector: Annotated[str, typer.Option(help="Name of a shipped detector.")] = "mean",
    attack: Annotated[str, typer.Option(help="Name of an attack preset.")] = "pgd",
    epsilon: Annotated[float | None, typer.Option(help="Budget of the attack; default: the preset's.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core. Changes no figure.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Computing threads of each process.")] = 1,
    json: Json = False,
) -> None:
    """Simulate traffic, let teammates attack, defend, and show what came of it."""
    from robosac.commands.demo import run

    run(
        fast=fast,
        out=out,
        seed=seed,
        jobs=jobs,
        threads=threads,
        detector=detector,
        attack=attack,
        epsilon=epsilon,
        scenes=scenes,
        as_json=json,
    )


@app.command()
def attacks(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Presets; default: all.")] = None,
    gallery: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for a picture of each and a page of them.")
    ] = None,
    detector: DetectorName = "mean",
    scene: Annotated[int, typer.Option(min=0, help="Which simulated scene the gallery shows.")] = 3,
    attackers: Annotated[int, typer.Option(min=1, help="How many lie in the gallery.")] = 2,
    seed: Seed = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as docs/attacks.md has it.")] = False,
    json: Json = False,
) -> None:
    """The attacks there are: stage, what each needs to know, budget, source; one NAME: with its settings."""
    from robosac.commands.attacks import run, run_gallery

    if gallery is None:
        run(names or [], as_json=json, as_markdown=markdown)
    else:
        run_gallery(
            names or [], out=gallery, detector=detector, seed=seed, scene=scene, attackers=attackers, as_json=json
        )


@app.command()
def evaluate(
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="sim:PRESET (mixed, intersection, ...), opv2v:PATH, v2xsim:PATH, dair:PATH, or data:PATH."),
    ] = None,
    detector: Annotated[list[str] | None, typer.Option(help=DETECTOR_HELP)] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Presets (robosac attacks lists them), like pgd or pgd:steps=5,epsilon=0.1."),
    ] = None,
    attackers: Annotated[list[str] | None, typer.Option(help="How many of a scene's teammates attack.")] = None,
    defense: Annotated[
        list[str] | None, typer.Option(help="Presets (robosac, paper, ...), none, ego-only, oracle, all-honest.")
    ] = None,
    epsilon: Annotated[list[str] | None, typer.Option(help="Budgets in place of the presets': an axis.")] = None,
    trials: Annotated[list[str] | None, typer.Option(help="Trials a frame, at most: an axis.")] = None,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A YAML file of these; what is named here wins.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="Of a data set, at most.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a scene, at most.")] = None,
    frame_step: Annotated[int | None, typer.Option(min=1, help="Every how many-th frame.")] = None,
    vehicles: Annotated[int | None, typer.Option(min=1, help="Connected vehicles of a simulated scene.")] = None,
    comm_range_m: Annotated[float | None, typer.Option(help="Who is further from the ego is no teammate.")] = None,
    ego: Annotated[str | None, typer.Option(help="Of a recording: first, each, or an agent's name.")] = None,
    pose_noise: Annotated[
        str | None,
        typer.Option(metavar="METRES[,DEGREES]", help="Errors of all measured poses: their standard deviations."),
    ] = None,
    delay: Annotated[int | None, typer.Option(min=0, help="Frames by which teammates are late.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; with cuda, jobs take the GPUs in turn.")
    ] = None,
    root: Root = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core. Changes no figure.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Computing threads of each process.")] = 1,
    executor: Annotated[str, typer.Option(help="Where work is done: serial or processes.")] = "processes",
    out: Out = Path("runs/evaluate"),
    json: Json = False,
) -> None:
    """Play every attack against every defence: the whole grid of what is named.

    Lists are repeated options or comma lists. A run that is stopped goes on where it was when the same command is given
    again; a grid that grows uses what is there.
    """
    from robosac.commands.evaluate import run

    named = {
        "dataset": dataset,
        "detector": detector,
        "attack": attack,
        "defense": defense,
        "attackers": attackers,
        "epsilon": epsilon,
        "trials": trials,
        "seeds": seeds,
        "scenes": scenes,
        "frames": frames,
        "frame_step": frame_step,
        "vehicles": vehicles,
        "comm_range_m": comm_range_m,
        "ego": ego,
        "pose_noise": None if pose_noise is None else [pose_noise],
        "delay": delay,
        "device": device,
    }
    run(named, config=config, out=out, jobs=jobs, threads=threads, executor=executor, root=root, as_json=json)


@app.command()
def train(
    config: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A YAML file of configs/detectors.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for NAME.safetensors and its record NAME.json (NAME: the config's), or a path ending in"
            " .safetensors. Default: the shipped weights are replaced."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the seed in the config.")] = None,
    json: Json = False,
) -> None:
    """Train a detector on simulated scenes."""
    from robosac.detectors.bev.training.train import train_from_config

    weights = train_from_config(config, out=out, seed=seed, progress=not json)
    if json:
        from json import dumps

        typer.echo(dumps({"out": str(weights)}))
    else:
        typer.echo(f"Written to {weights}")


@app.command()
def calibrate(
    detector: DetectorName = "mean",
    data: Annotated[
        str,
        typer.Option(help="Honest frames: 'simulated', a data set's folder (OpenCOOD), or MODULE:NAME of your own."),
    ] = "simulated",
    frames: Annotated[int, typer.Option(min=1, help="Honest frames to read thresholds from.")] = 250,
    alpha: Annotated[float, typer.Option(help="Share of honest subsets that may be refused.")] = 0.02,
    confidence: Annotated[
        float | None, typer.Option(help="Keep that share with this confidence, like 0.95; default: on average.")
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="File to write. Default: the thresholds beside the weights are replaced."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core. Changes no figure.")] = None,
    attack: Annotated[
        str, typer.Option(help="What the liar sends whose acceptance is measured: 'foreign' or an attack preset.")
    ] = "foreign",
    device: Device = "cpu",
    root: Root = None,
    json: Json = False,
) -> None:
    """Read agreement thresholds and error rates off honest frames.

    Without --out, the thresholds beside the detector's weights, which every defence reads, are replaced.
    """
    from robosac.commands.calibrate import Settings, show

    settings = Settings(
        detector=detector,
        data=data,
        frames=frames,
        alpha=alpha,
        confidence=confidence,
        seed=seed,
        device=device,
        root=root,
        attack=attack,
    )
    show(settings, out=out, jobs=jobs, as_json=json)


@app.command("check-detector")
def check_detector(
    detector: Annotated[str, typer.Argument(help=DETECTOR_HELP)],
    data: Annotated[
        str, typer.Option(help="Where the frame comes from: 'simulated', a data set's folder, or MODULE:NAME.")
    ] = "simulated",
    frame: Annotated[int, typer.Option(min=0, help="Which of the frames.")] = 0,
    teammates: Annotated[int | None, typer.Option(min=1, help="At most so many of its teammates.")] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Largest difference that is called equal.")] = 1e-6,
    seed: Seed = 0,
    device: Device = "cpu",
    root: Root = None,
    json: Json = False,
) -> None:
    """Check on one frame that a detector is wrapped rightly.

    A subset from cached features must equal a full forward with only these agents; a message that was tampered with
    must change the subsets that hold it and no other; gradients must reach the messages. Exit code 1 where one fails.
    """
    from robosac.commands.check_detector import show

    show(
        detector,
        data=data,
        frame=frame,
        teammates=teammates,
        tolerance=tolerance,
        seed=seed,
        device=device,
        root=root,
        as_json=json,
    )


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write to: OUT/SPLIT/SCENARIO/AGENT/...")],
    scenes: Annotated[int, typer.Option(min=1, help="Scenarios; with more than are there, the others are added.")],
    format: Annotated[str, typer.Option(help="How they are laid out: opv2v.")] = "opv2v",
    seed: Seed = 0,
    split: Annotated[str, typer.Option(help="train, val, calibration or test: no two share a scenario.")] = "test",
    frames: Annotated[int, typer.Option(min=1, help="Frames of a scenario, ten a second.")] = 10,
    vehicles: Annotated[int, typer.Option(min=1, help="Connected vehicles, the ego included.")] = 5,
    roadside: Annotated[bool, typer.Option(help="Whether a road-side unit takes part.")] = True,
    beams: Annotated[int, typer.Option(min=1, help="Rays of a LiDAR above one another.")] = 32,
    columns: Annotated[int, typer.Option(min=1, help="Rays of a LiDAR in a turn.")] = 1024,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core. Changes no byte.")] = None,
    json: Json = False,
) -> None:
    """Write simulated scenes as other frameworks read them.

    Stopped, it leaves whole scenarios only; run again with the same arguments, it goes on.
    """
    from robosac.commands.simulate import Settings, run
    from robosac.simulation import SimConfig

    config = SimConfig(n_frames=frames, n_vehicles=vehicles, roadside=roadside, beams=beams, columns=columns)
    run(Settings(out, scenes, seed=seed, split=split, format=format, config=config), jobs=jobs, as_json=json)


@app.command()
def view(
    data: Annotated[str, typer.Argument(help="'simulated', or the folder of a data set.")] = "simulated",
    frame: Annotated[int, typer.Option(min=0, help="Which of its frames (of the simulation: of its scenarios).")] = 0,
    scenario: Annotated[bool, typer.Option("--scenario", help="All frames of that frame's scenario.")] = False,
    detector: Annotated[
        str | None, typer.Option(help="Draw what this detector, defended, makes of it too; a name as for calibrate.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="A picture (.png; of a scenario one a frame) instead of a window."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Show a frame or a scenario in 3D: points by agent, objects, poses, and the verdict. Needs the extra open3d."""
    from robosac.commands.view import Settings, run

    run(Settings(data=data, frame=frame, scenario=scenario, seed=seed, detector=detector, out=out))


@data_app.command("inspect")
def data_inspect(
    path: Annotated[Path, typer.Argument(help="OPV2V, V2XSet, V2X-Sim (npy or pkl) or DAIR-V2X-C: the folder.")],
    layout: Annotated[str | None, typer.Option(help="Its layout; default: what lies there tells it.")] = None,
    frames: Annotated[int, typer.Option(min=0, help="Frames read whole, spread over all; 0: every one.")] = 20,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Picture of a frame from above (.png).")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Which frame to draw.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Broken files are listed and are no failure.")] = False,
    json: Json = False,
) -> None:
    """Say what lies there: scenarios, frames, agents, rates, points, objects, and what is broken or missing.

    Exit code 1 where files are broken, unless --skip-bad.
    """
    from robosac.commands.data import Settings, show

    settings = Settings(path, layout=layout, frames=frames, plot=plot, frame=frame, skip_bad=skip_bad)
    show(settings, as_json=json)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; the project's own errors and the operating system's become one line and an exit code.

    Exit codes: 0 done (an honest "impossible" included), 1 failed, 2 the arguments are wrong, 130 stopped by Ctrl-C.
    """
    try:
        app(args=None if args is None else list(args), prog_name="robosac")
    except RobosacError as error:
        print(f"robosac: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except OSError as error:  # a full disk, a file that vanished
        print(f"robosac: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)
