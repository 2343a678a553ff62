"""What is printed: tables that fit, letters that the terminal has, and an end that is the same everywhere."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDEST: Final = 10_000  # where nobody says how wide: a file, a pipe
_ASCII: Final = {
    "–": "-", "—": "-", "−": "-", "─": "-", "━": "-", "╸": "-", "╺": "-", "│": "|", "┃": "|", "…": "...", "·": "-",
    "•": "*", "×": "x", "±": "+-", "≥": ">=", "≤": "<=", "→": "->", "“": '"', "”": '"', "’": "'", "‘": "'",
}  # fmt: skip


class ReaderGoneError(Exception):
    """Nobody reads standard output any more."""


def in_ascii(error: UnicodeError) -> tuple[str, int]:
    """For an encoding that lacks a letter: one that stands for it, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error("robosac", in_ascii)


def write_any_letter(*streams: Any) -> None:
    """Letters that a stream's encoding lacks are written as others, and are no error."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="robosac")


def is_narrow() -> bool:
    """Whether somebody says how wide the output is: a terminal, or COLUMNS."""
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def console(**settings: Any) -> Console:
    """Standard output; text as it is, lines not broken."""
    from rich.console import Console

    class Output(Console):
        """Whose reader may go: rich itself would end the program with 1."""

        def on_broken_pipe(self) -> None:
            raise ReaderGoneError

    return Output(highlight=False, soft_wrap=True, emoji=False, **settings)


def show_table(table: Table, to: Console | None = None) -> None:
    """Print a table. Where it does not fit the terminal, each row becomes lines, so that nothing is cut; into files
    and pipes it is written as wide as it is.
    """
    out = to or console()
    limit = out.width if is_narrow() else _WIDEST
    natural = out.measure(table, options=out.options.update(max_width=_WIDEST))
    lines = _drawn(table, out, min(natural.maximum, limit)) if natural.minimum <= limit else None
    if lines is None:
        for line in stacked(table):
            out.print(line, markup=True, soft_wrap=True)
        return
    out.file.write("".join(f"{line}\n" for line in lines))


def _drawn(table: Table, out: Console, width: int) -> list[str] | None:
    """The lines of a table of this width; None where something would be cut."""
    before, out.width = out.width, width
    try:
        with out.capture() as drawn:
            out.print(table, soft_wrap=False)
    finally:
        out.width = before
    text = drawn.get()
    cut = any(word not in text for cells in _texts(table) for cell in cells for word in cell.split())
    return None if cut else [line.rstrip() for line in text.splitlines()]


def _texts(table: Table) -> list[list[str]]:
    """Headings and rows without their marks, cell by cell."""
    from rich.text import Text

    def plain(cell: Any) -> str:
        return " ".join((Text.from_markup(cell, emoji=False) if isinstance(cell, str) else cell).plain.split())

    headings = [plain(column.header) for column in table.columns]
    columns = (map(plain, column.cells) for column in table.columns)
    return [headings, *map(list, zip(*columns, strict=True))]


def stacked(table: Table) -> Iterator[str]:
    """A table as lines: of each row its first cell, and below it a line `heading: value` for each other one."""
    from rich.markup import escape
    from rich.text import Text

    if table.title is not None:
        title = table.title if isinstance(table.title, Text) else Text.from_markup(str(table.title), emoji=False)
        yield f"[bold]{escape(title.plain)}[/bold]"
    headings, *rows = _texts(table)
    for first, *rest in rows:
        if any((first, *rest)):
            yield f"[bold]{escape(first)}[/bold]"
        for heading, value in zip(headings[1:], rest, strict=True):
            if value:
                yield escape(f"  {heading}: {value}" if heading else f"  {value}")


@contextmanager
def written_out() -> Iterator[None]:
    """What was printed inside is written at the end, so that a full disk is an error here and not after the exit code.

    Raises:
        ReaderGoneError: the pipe was closed.
        OSError: it cannot be written, on a full disk for example.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        throw_away(sys.stdout)
        raise ReaderGoneError from error
    except OSError:
        with suppress(OSError):
            sys.stdout.flush()
        throw_away(sys.stdout)
        raise


def throw_away(stream: TextIO) -> None:
    """What is left in a stream that cannot be written; Python would try again when it ends, and exit with 120."""
    try:
        stream.flush()
        return
    except (OSError, ValueError):
        pass
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
