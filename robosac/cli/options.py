"""Options that several commands have, and a dataclass as a command's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_type_hints

import typer

from robosac.cli import completion
from robosac.errors import InputError

T = TypeVar("T")

DETECTOR_HELP: Final = (
    "A shipped name (mean, max, ...; robosac detectors), FILE.safetensors, late:NAME or early:NAME of these (boxes or"
    " points are sent), an OpenCOOD model's FOLDER (or opencood:FOLDER) or a .pth in it,"
    " coperception:FUSION:CHECKPOINT, or MODULE:NAME of your own."
)
DATA_HELP: Final = "sim:PRESET (mixed, intersection, ...), opv2v:PATH, v2xsim:PATH, dair:PATH, or data:PATH."
ATTACK_HELP: Final = "A preset (robosac attacks), with settings where wanted: pgd or pgd:steps=5,epsilon=0.1."
DEFENSE_HELP: Final = "A preset (robosac defenses): robosac, paper, none, ego-only, ..."


def named(*flags: str, complete: Callable[[str], list[str]] | None = None, **more: Any) -> Any:
    """An option whose names are the same in every command, with what its values may be for shells to complete."""
    return typer.Option(*flags, autocompletion=complete, **more)


Checkpoint = Annotated[
    Path | None,
    typer.Option(help="The weights, where they are not those that the detector's framework would take of its folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Seed = Annotated[int, typer.Option("--seed", "-s", min=0, help="Same seed, same result.")]
DetectorName = Annotated[str, named("--detector", "-m", complete=completion.detectors, help=DETECTOR_HELP)]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1; with cuda, processes take the GPUs in turn.")]
Root = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="A checkout of the detector's framework, if it is not installed."),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", file_okay=False, help="Folder to write to; made where it does not exist.")
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one a core. Changes no figure.")
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        exists=True,
        dir_okay=False,
        help="Thresholds, a file that robosac calibrate wrote. Default: your own of this detector, else those beside"
        " its weights.",
    ),
]
Ego = Annotated[str, typer.Option(help="Whose view of a recording: first, each (or all) in turn, or an agent's name.")]
PoseNoise = Annotated[
    str | None,
    typer.Option(metavar="METRES[,DEGREES]", help="Errors of all measured poses: their standard deviations."),
]
Delay = Annotated[int, typer.Option(min=0, help="Frames by which teammates are late.")]
Classes = Annotated[
    list[str] | None,
    typer.Option(help="Classes of a recording that count as objects, as it spells them: Car,Truck. Default: vehicles."),
]
ExecutorName = Annotated[str, typer.Option("--executor", help="Where work is done: serial, processes or ray.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; default: one of its own, on this machine."
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Computing threads of each process.")]


def with_checkpoint(detector: str, checkpoint: Path | None) -> str:
    """A detector's name with its `--checkpoint`, as `robosac.registry.detectors` reads it.

    Raises:
        InputError: if the name has weights already, or is of a detector that takes none.
    """
    if checkpoint is None:
        return detector
    kind, _, rest = detector.partition(":")
    if kind == "coperception":
        fusion, _, held = rest.partition(":")
        if held or not fusion:
            raise InputError(
                f"expected coperception:FUSION, like coperception:mean, beside --checkpoint, got {detector}"
            )
        return f"coperception:{fusion}:{checkpoint}"
    from robosac.registry.detectors import checkpoint_in, is_opencood

    if is_opencood(detector):
        folder, named = checkpoint_in(rest or detector)
        if named or detector.endswith(".pth"):
            raise InputError(
                f"expected the folder of a model beside --checkpoint, got {detector}, which names its weights"
            )
        return f"opencood:{folder}@{checkpoint}"
    raise InputError(
        f"expected an OpenCOOD model's folder or coperception:FUSION beside --checkpoint, got {detector!r}, whose "
        "weights are known; leave --checkpoint out"
    )


def listed(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """The values of a repeatable option, each of which may be a comma list; None where it was not given."""
    return None if values is None else tuple(p.strip() for v in values for p in v.split(",") if p.strip())


def command_of(kind: Callable[..., T], run: Callable[[T], None]) -> Callable[..., None]:
    """A command whose options are the fields of a dataclass; it makes one and runs it. Its help is that of `run`."""

    def command(**given: Any) -> None:
        run(kind(**given))

    types = get_type_hints(kind, include_extras=True)
    parameters = inspect.signature(kind).parameters.values()
    command.__doc__ = run.__doc__
    command.__annotations__ = {p.name: types[p.name] for p in parameters}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(annotation=types[p.name]) for p in parameters]
    )
    return command
