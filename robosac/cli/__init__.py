"""The command line: a module a command, opened when its command is given.

Each module holds a function of its command's name, or a `typer.Typer` of several, whose signature is the command's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from robosac import __version__
from robosac.cli.output import ReaderGoneError, throw_away, write_any_letter, written_out
from robosac.errors import InputError, RobosacError, did_you_mean, warnings_in_a_line

COMMANDS: Final = {  # with the first sentence of each help, so that listing them opens none
    "demo": "Simulate traffic, let teammates attack, defend, and show the result.",
    "run": "Defend every frame of a data set: boxes, support, who is accused and why, one JSON a frame.",
    "evaluate": "Play every attack against every defence: the whole grid of what is named.",
    "fleet": "Vehicles adapt one detector or language model together, round after round, poisoned updates left out.",
    "leaderboard": "The board: defences ranked by the worst attack, as Markdown and as one HTML page.",
    "ap": "Score saved boxes again under every convention of AP, and say what makes the figures differ.",
    "budget": "How many random subsets to try, and how large they may be.",
    "attacks": "The attacks there are: stage, what each needs to know, budget, source; one NAME: with its settings.",
    "detectors": "The detectors there are, what each is, and whether it is calibrated.",
    "defenses": "The defences there are, what each does, and where its settings come from.",
    "train": "Train a detector on simulated scenes or recordings, or fine-tune one.",
    "train-rivals": "Train MADE's autoencoder and the classifier of residuals",
    "calibrate": "Read agreement thresholds and error rates off honest frames.",
    "check-detector": "Check on one frame that a detector is wrapped rightly.",
    "simulate": "Write simulated scenes as other frameworks read them.",
    "inspect": "Say what a data set holds: scenarios, frames, agents, points, objects, what is broken or missing.",
    "view": "Show a frame or a scenario in 3D: points by agent, objects, poses, and the verdict.",
    "data": "Driving data sets on disk.",
}


class _Modules(Mapping[str, Any]):
    """Commands by name, each made of its module when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        module = name.replace("-", "_")
        found = getattr(import_module(f"robosac.cli.{module}"), module)
        if isinstance(found, typer.Typer):
            return typer.main.get_group(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(found)
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    """Ctrl-C is reported in a line. Caught here, since what typer makes of it differs from version to version."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Modules()

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            kept = f"; {stop}" if str(stop) else ""
            print(f"robosac: stopped{kept}", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError as error:  # typer would end with 1
            raise ReaderGoneError from error

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Commands by name, without opening their modules."""
        if incomplete.startswith("-"):
            return list(super().shell_complete(ctx, incomplete))
        item = _completion_item()
        return [item(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [(name, TyperCommand(name, help=text).get_short_help_str(limit)) for name, text in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _completion_item() -> Any:
    """What this version of typer calls a completion: its own copy of click's, or click's."""
    try:
        return import_module("typer._click.shell_completion").CompletionItem
    except ImportError:
        return import_module("click.shell_completion").CompletionItem


app = typer.Typer(
    name="robosac",
    cls=_Group,
    help="V2X collaborative 3D detection that bears teammates who lie: consensus defence, attacks, evaluation.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robosac {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; whatever goes wrong becomes one line and an exit code.

    Exit codes: 0 done (an honest "impossible" included, and output that nobody reads to its end), 1 failed, 2 the
    arguments are wrong, 130 stopped by Ctrl-C.
    """
    write_any_letter(sys.stdout, sys.stderr)
    sys.exit(_code(None if args is None else list(args)))


def _code(args: list[str] | None) -> int:
    try:
        with warnings_in_a_line(), written_out():
            return int(app(args=args, prog_name="robosac", standalone_mode=False) or 0)
    except ReaderGoneError:
        throw_away(sys.stdout)
        return 0
    except RobosacError as error:
        return _failed(error, 2 if isinstance(error, InputError) else 1)
    except ModuleNotFoundError as error:
        if (missing := str(error.name).partition(".")[0]) == "robosac":
            raise
        return _failed(f"expected the package {missing!r}, which is not installed; pip install {missing}", 2)
    except OSError as error:  # a full disk, a file that vanished
        return _failed(error, 1)
    except Exception as error:  # typer's own, of whichever click it brings
        if not hasattr(error, "format_message"):
            if type(error).__name__ == "Abort":
                return _failed("stopped", 130)
            raise
        return _misused(error)


def _failed(why: object, code: int) -> int:
    print(f"robosac: {' '.join(str(why).split()) or type(why).__name__}", file=sys.stderr)
    return code


def _misused(error: Any) -> int:
    """What click found wrong with the arguments, in one line; help is printed where nothing was given."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        return 2
    said = " ".join(error.format_message().split()).rstrip(".")
    if (wrong := getattr(error, "option_name", None)) and context is not None:
        known = [name for p in context.command.params for name in p.opts if name.startswith("--")]
        said = f"there is no option {wrong}{did_you_mean(wrong, known)}"
    elif said.startswith("No such command"):
        name = said.split("'")[1]
        known = list(context.command.commands) if context is not None else []
        said = f"there is no command {name!r}{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
    where = getattr(context, "command_path", "robosac")
    return _failed(f"{said[:1].lower()}{said[1:]} ({where} -h)", 2)
