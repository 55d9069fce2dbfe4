"""`lunar node`: the arguments of its commands."""

import typer

from lunar.cli.options import AsJson, NodeName, ShowHidden, Verbose, examples

app = typer.Typer(
    help="Look at nodes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.command("list", epilog=examples("lunar node list", "lunar node list --json"))
def list_nodes(verbose: Verbose = False, hidden: ShowHidden = False, as_json: AsJson = False) -> None:
    """List the nodes."""
    from lunar.cli.listing import list_nodes

    raise typer.Exit(list_nodes(verbose=verbose, hidden=hidden, as_json=as_json))


@app.command(epilog=examples("lunar node info talker"))
def info(node: NodeName, verbose: Verbose = False, as_json: AsJson = False) -> None:
    """Show what a node publishes and subscribes."""
    from lunar.cli.listing import show_node

    raise typer.Exit(show_node(node, verbose=verbose, as_json=as_json))
