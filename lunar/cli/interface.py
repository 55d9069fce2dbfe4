"""`lunar interface`: the arguments of its commands."""

from enum import StrEnum
from typing import Annotated

import typer

from lunar.cli.completion import complete_types
from lunar.cli.options import AsJson, examples

app = typer.Typer(
    help="Look at message types: of the standard set, of schema files, and on the graph.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


class ExportFormat(StrEnum):
    """The forms in which a type can be written."""

    FBS = "fbs"
    JSON = "json"
    PYI = "pyi"


_TYPE_HELP = "A type: geometry_msgs.Twist, Twist, robot.fbs:robot.State, or /topic for the type of a topic."
_Type = Annotated[str, typer.Argument(metavar="TYPE", help=_TYPE_HELP, autocompletion=complete_types)]


@app.command("list", epilog=examples("lunar interface list", "lunar interface list 'sensor_msgs.*'"))
def list_interfaces(
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="PATTERN", help="Part of a name, or a pattern with * and ?.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the message types of the standard set, and those that are on the graph."""
    from lunar.cli.interface_texts import list_interfaces

    raise typer.Exit(list_interfaces(pattern, as_json=as_json))


@app.command(epilog=examples("lunar interface show Twist", "lunar interface show /odom"))
def show(name: _Type, as_json: AsJson = False) -> None:
    """Print a type, and all that it needs, in the FlatBuffers language."""
    from lunar.cli.interface_texts import show_interface

    raise typer.Exit(show_interface(name, as_json=as_json))


@app.command(
    epilog=examples("lunar interface export /odom -o odom.fbs", "lunar interface export robot.fbs:State --format pyi")
)
def export(
    name: _Type,
    form: Annotated[
        ExportFormat, typer.Option("--format", help="FlatBuffers' language, JSON as peers tell it, or a Python stub.")
    ] = ExportFormat.FBS,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file, not to stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a type, and all that it needs, as a schema for other programs or a stub for type checkers."""
    from lunar.cli.interface_texts import export_interface

    raise typer.Exit(export_interface(name, form.value, output, as_json=as_json))


@app.command(
    epilog=examples(
        "lunar interface check robot.fbs  for errors",
        "lunar interface check robot.fbs:robot.State /state",
        "lunar interface check old/robot.fbs new/robot.fbs",
    )
)
def check(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_TYPE_HELP, autocompletion=complete_types)],
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="NEW",
            help="Another version of it, named likewise.",
            autocompletion=complete_types,
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check whether programs with two versions of a type can read each other's messages.

    Prints what is different; the exit code is 1 if they cannot. With one argument, checks that a schema file, or the
    type, is without errors.
    """
    from lunar.cli.interface_check import check_alone, check_versions

    raise typer.Exit(check_alone(old, as_json=as_json) if new is None else check_versions(old, new, as_json=as_json))
