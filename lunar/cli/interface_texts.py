"""`lunar interface list`, `show` and `export`: message types as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lunar.cli import exit_codes
from lunar.cli.output import Table, escape_lines, write_error, write_json, write_line, write_note, write_table
from lunar.cli.snapshots import look_at_graph
from lunar.cli.type_lookup import find_type, graph_types, standard_types

if TYPE_CHECKING:
    from lunar.cli.type_lookup import FoundType

Format = Literal["fbs", "json", "pyi"]


def list_interfaces(pattern: str | None, *, as_json: bool) -> int:
    """Prints the messages of the standard set and of the graph.

    Args:
        pattern: Part of the names to print, or a pattern with `*` and `?`; None for all.
        as_json: Print JSON.

    Returns:
        The exit code: not found if no name is like that.
    """
    found = [*_chosen([*standard_types().values(), *graph_types(look_at_graph(None))], pattern)]
    if as_json:
        write_json([_identity(each) for each in found])
    elif found:
        write_table(Table(("TYPE", "KIND", "FROM"), [(each.name, each.kind, each.origin) for each in found]))
    if not found:
        write_note(f"no type is like {pattern}")
    return exit_codes.OK if found else exit_codes.NOT_FOUND


def _chosen(types: Iterable[FoundType], pattern: str | None) -> Iterable[FoundType]:
    wanted = (pattern or "").lower().replace("/msg/", ".").replace("/", ".")
    like = wanted if "*" in wanted or "?" in wanted else f"*{wanted}*"
    return (each for each in types if each.is_message and fnmatchcase(each.name.lower(), like))


def _identity(found: FoundType) -> dict[str, object]:
    return {"name": found.name, "kind": found.kind, "hash": found.type_hash(), "origin": found.origin}


def show_interface(name: str, *, as_json: bool) -> int:
    """Prints a type in the FlatBuffers language.

    Returns:
        The exit code.

    Raises:
        LunarError: There is no such type, or it cannot be said in the language.
    """
    found = find_type(name)
    text = _text(found, "fbs")
    if as_json:
        write_json({**_identity(found), "fbs": text})
    else:
        write_line(escape_lines(text).rstrip("\n"))
    return exit_codes.OK


def export_interface(name: str, form: Format, output: str | None, *, as_json: bool) -> int:
    """Writes a type to a file, or to stdout.

    Args:
        name: The type, as the user wrote it.
        form: In what form.
        output: The file; None for stdout.
        as_json: Print what was written, and where, as JSON.

    Returns:
        The exit code: not found if the file cannot be written.

    Raises:
        LunarError: There is no such type, or it cannot be said in that form.
    """
    found = find_type(name)
    text = _text(found, form)
    if output is not None:
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            write_error(f"{output} cannot be written: {error.strerror}")
            return exit_codes.NOT_FOUND
    if as_json:
        where: dict[str, object] = {"text": text} if output is None else {"path": output}
        write_json({**_identity(found), "format": form, **where})
    elif output is None:
        write_line(escape_lines(text).rstrip("\n"))
    return exit_codes.OK


def _text(found: FoundType, form: Format) -> str:
    if form == "json":
        from lunar.messages.schema_json import to_json

        return json.dumps(to_json(*found.described()), indent=2) + "\n"
    if form == "pyi":
        from lunar.messages.schema import Schema
        from lunar.messages.stubs import stub_text

        return stub_text(Schema(found.schema.closure(found.name)), f"The message type {found.name} and what it needs.")
    from lunar.messages.fbs_text import to_fbs

    return to_fbs(found.schema, found.name)
