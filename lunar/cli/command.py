"""The `lunar` command line as a whole: which commands there are, and what each costs to start.

Only the module of the command that was asked for is imported; help and completion name the others without it.
"""

import importlib
from typing import Annotated, cast

import typer
import typer.core
import typer.main

from lunar.cli import exit_codes
from lunar.cli.options import examples
from lunar.cli.output import write_line

_COMMANDS = {
    "topic": ("lunar.cli.topic", "Look at topics, measure them and publish on them."),
    "node": ("lunar.cli.node", "Look at nodes."),
    "interface": ("lunar.cli.interface", "Look at message types: of the standard set, of schema files, on the graph."),
    "explain": ("lunar.cli.explain", "Say which transport serves whom, and why not another."),
    "keys": ("lunar.cli.keys", "Make the keys by which hosts know each other, and say which are let in."),
    "doctor": ("lunar.cli.doctor", "Check what Lunar needs on this host, and say what is missing."),
    "perf": ("lunar.cli.perf", "Measure latency and throughput."),
}
"""Each command: the module whose `app` it is, and its line of help, which must not cost the import of that module."""

_AnyCommand = typer.core.TyperGroup | typer.core.TyperCommand

app = typer.Typer(
    help="Lunar: publish and subscribe over crash-proof shared memory.",
    epilog=examples("lunar topic list", "lunar topic hz chatter", "lunar doctor"),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from lunar._version import __version__

        write_line(f"lunar {__version__}")
        raise typer.Exit(exit_codes.OK)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


class _LazyCommand(typer.core.TyperGroup):
    """Stands in for a command in help and completion; imports its module when it is about to run.

    Args:
        name: The command's name.
        module: The module whose `app` is the command.
        help_line: What the overview of commands says about it.
    """

    def __init__(self, name: str, module: str, help_line: str) -> None:
        super().__init__(name=name, help=help_line)
        self._module = module

    def make_context(
        self, info_name: str | None, args: list[str], parent: object = None, **extra: object
    ) -> typer.Context:
        """Hands over to the real command: from here on the context, and so everything else, is its own."""
        command = typer.main.get_command(cast("typer.Typer", importlib.import_module(self._module).app))
        _reflow_help(cast("_AnyCommand", command))
        context = command.make_context(info_name, args, parent=cast("typer.Context | None", parent), **extra)
        return cast("typer.Context", context)


def _reflow_help(command: _AnyCommand) -> None:
    """Joins the lines of each paragraph of a help text: the renderer would break them where the docstring does."""
    if command.help:
        command.help = "\n\n".join(" ".join(part.split()) for part in command.help.split("\n\n"))
    if isinstance(command, typer.core.TyperGroup):
        for subcommand in command.commands.values():
            _reflow_help(cast("_AnyCommand", subcommand))


def build_command() -> typer.core.TyperGroup:
    """Builds the whole command line, without importing any command's module."""
    group = cast("typer.core.TyperGroup", typer.main.get_command(app))
    for name, (module, help_line) in _COMMANDS.items():
        group.add_command(_LazyCommand(name, module, help_line))
    return group
