"""Where the command line writes: results to stdout, everything about the work to stderr.

Results are a table for people, or one JSON document a line for programs. On a terminal a table is drawn with rich; into a
pipe it is plain aligned columns that are never cut, and rich is not even imported.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
"""What can be written as JSON."""


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


def write_json(document: Json) -> None:
    """Writes one JSON document as one line on stdout, flushed, so that a reader of a stream sees it at once."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def write_line(text: str = "") -> None:
    """Writes one line of a result on stdout."""
    sys.stdout.write(text + "\n")


def write_note(text: str) -> None:
    """Tells on stderr what the command is doing; never part of a result."""
    _write_message("", text)


def write_warning(text: str) -> None:
    """Tells on stderr that a result is not the whole truth, or soon will not be."""
    _write_message("warning: ", text)


def write_error(text: str) -> None:
    """Tells on stderr why the command ends without what was asked."""
    _write_message("error: ", text)


def _write_message(prefix: str, text: str) -> None:
    sys.stdout.flush()  # keeps the order when both streams go to one terminal
    sys.stderr.write(f"lunar: {prefix}{text}\n")
    sys.stderr.flush()


def write_table(table: Table) -> None:
    """Writes a table on stdout: drawn on a terminal, plain columns elsewhere."""
    if sys.stdout.isatty():
        _draw(table)
    else:
        sys.stdout.write(plain_columns(table))


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
