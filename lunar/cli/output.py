"""Where the command line writes: results to stdout, everything about the work to stderr.

Results are a table for people, or one JSON document a line for programs. On a terminal a table is drawn with rich;
into a pipe it is plain aligned columns that are never cut, and rich is not even imported.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Colour = Literal["red", "yellow", "green"]
_ANSI_COLOURS: dict[Colour, int] = {"red": 31, "yellow": 33, "green": 32}


class ReaderGone(Exception):
    """Whoever read our stdout has closed it; a reason to end quietly."""


@dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Attributes:
        headings: One heading a column.
        rows: The cells, as many a row as there are headings.
        title: Printed above the table, if not empty.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


def prepare_streams() -> None:
    """Makes stdout and stderr print what they cannot encode as escapes, rather than fail half-way through a line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def write_json(document: Mapping[str, object] | Sequence[Mapping[str, object]]) -> None:
    """Writes one JSON document, made of JSON-ready values, as one line on stdout."""
    _write_result(escape_unprintable(json.dumps(document, ensure_ascii=False, allow_nan=False)) + "\n")


def escape_unprintable(text: str) -> str:
    """Escapes the characters that are not printable as JSON does; what could control a terminal is none of JSON's own.

    Args:
        text: JSON, or a part of it.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def escape_lines(text: str) -> str:
    """As `escape_unprintable`, of a text of several lines, such as a schema's comments."""
    return "\n".join(escape_unprintable(line.replace("\t", "  ")) for line in text.split("\n"))


def write_line(text: str = "") -> None:
    """Writes one line of a result on stdout."""
    _write_result(text + "\n")


def write_bytes(payload: bytes | memoryview) -> None:
    """Writes bytes on stdout as they are, after what was written as text before them."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(payload)
    except BrokenPipeError as error:
        raise ReaderGone from error


def flush_output() -> None:
    """Hands over what was written on stdout, so that a reader of a stream sees it now.

    Raises:
        ReaderGone: Nobody reads it any more. Every function here that writes a result may raise this.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error


def _write_result(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError as error:
        raise ReaderGone from error


def write_note(text: str) -> None:
    """Tells on stderr what the command is doing; never part of a result."""
    _write_message("", text)


def write_warning(text: str) -> None:
    """Tells on stderr that a result is not the whole truth, or soon will not be."""
    _write_message("warning: ", text)


def write_error(text: str) -> None:
    """Tells on stderr why the command ends without what was asked; each line of it is one error."""
    for line in text.splitlines() or [""]:
        _write_message("error: ", line)


def _write_message(prefix: str, text: str) -> None:
    flush_output()  # keeps the order when both streams go to one terminal
    sys.stderr.write(f"lunar: {prefix}{text}\n")
    sys.stderr.flush()


def coloured(text: str, colour: Colour) -> str:
    """Colours text for stdout if that is a terminal and the user has not asked for no colour (https://no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_ANSI_COLOURS[colour]}m{text}\x1b[0m"


def write_table(table: Table) -> None:
    """Writes a table on stdout: drawn on a terminal, plain columns elsewhere."""
    if sys.stdout.isatty():
        _draw(table)
    else:
        _write_result(plain_columns(table))


def plain_columns(table: Table) -> str:
    """Lays a table out as aligned columns, two spaces apart, without a limit on width.

    Returns:
        The lines, each ended by a newline and without trailing spaces.
    """
    lines = [table.headings, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headings))]
    text = [f"{table.title}\n"] if table.title else []
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        text.append("  ".join(cells).rstrip() + "\n")
    return "".join(text)


def _draw(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, title=table.title or None, title_justify="left", pad_edge=False)
    for heading in table.headings:
        drawn.add_column(heading, overflow="fold")
    for row in table.rows:
        # Text, not markup: names come from other processes, and a bracket in one must stay a bracket.
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
