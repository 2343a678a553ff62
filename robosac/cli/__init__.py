"""The command line: a module a command, opened when its command is given.

Each module holds a function of its command's name, or a `typer.Typer` of several, whose signature is the command's.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from robosac import __version__
from robosac.errors import InputError, RobosacError, RobosacWarning

COMMANDS: Final = {  # with the first sentence of each help, so that listing them opens none
    "budget": "How many random subsets to try, and how large they may be.",
    "demo": "Simulate traffic, let teammates attack, defend, and show the result.",
    "attacks": "The attacks there are: stage, what each needs to know, budget, source; one NAME: with its settings.",
    "evaluate": "Play every attack against every defence: the whole grid of what is named.",
    "fleet": "Vehicles adapt one detector together, round after round, poisoned updates left out.",
    "train": "Train a detector on simulated scenes or recordings, or fine-tune one.",
    "calibrate": "Read agreement thresholds and error rates off honest frames.",
    "check-detector": "Check on one frame that a detector is wrapped rightly.",
    "simulate": "Write simulated scenes as other frameworks read them.",
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
        except KeyboardInterrupt:
            print("robosac: stopped", file=sys.stderr)
            raise typer.Exit(130) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [(name, TyperCommand(name, help=text).get_short_help_str(limit)) for name, text in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="robosac",
    cls=_Group,
    help="A lying teammate does no harm: consensus defence for V2X collaborative 3D detection.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robosac {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """The project's own warnings are a line on standard error, without the place in the code; others stay as they are.

    The same one is said once.
    """
    before, said = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, RobosacWarning):
            before(message, category, *where, **more)
        elif str(message) not in said:
            said.add(str(message))
            print(f"robosac: {message}", file=sys.stderr)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; the project's own errors and the operating system's become one line and an exit code.

    Exit codes: 0 done (an honest "impossible" included), 1 failed, 2 the arguments are wrong, 130 stopped by Ctrl-C.
    """
    try:
        with _warnings_in_a_line():
            app(args=None if args is None else list(args), prog_name="robosac")
    except RobosacError as error:
        print(f"robosac: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except OSError as error:  # a full disk, a file that vanished
        print(f"robosac: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)
