"""`lunar keys`: the arguments of its commands."""

from typing import Annotated

import typer

from lunar.cli.completion import complete_key_transports
from lunar.cli.options import AsJson, examples

app = typer.Typer(
    help="Make the keys by which hosts know each other, and say which are let in.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Transport = Annotated[
    str | None,
    typer.Option("--transport", "-t", help="Of which transport.", autocompletion=complete_key_transports),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="What `lunar keys show` prints on the other host.")]
Name = Annotated[
    str | None, typer.Option("--name", "-n", help="Whose it is; by default `key-` and the key's first letters.")
]


@app.command(epilog=examples("lunar keys make"))
def make(transport: Transport = None, as_json: AsJson = False) -> None:
    """Make a key pair for this user, and print the public key.

    The secret key stays where it is, readable for this user alone; one that is there is never written over.
    Every host of one user may use a copy of one pair: who has the same secret is let in without being listed.
    """
    from lunar.cli.key_listing import make_key

    raise typer.Exit(make_key(transport, as_json=as_json))


@app.command(epilog=examples("lunar keys show", "ssh robot lunar keys show"))
def show(transport: Transport = None, as_json: AsJson = False) -> None:
    """Print this user's public key, which the other hosts have to allow."""
    from lunar.cli.key_listing import show_key

    raise typer.Exit(show_key(transport, as_json=as_json))


@app.command(
    epilog=examples(
        "lunar keys allow 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7' --name robot",
        'lunar keys allow "$(ssh robot lunar keys show)" --name robot',
    )
)
def allow(key: Key, name: Name = None, transport: Transport = None, as_json: AsJson = False) -> None:
    """Let the owner of a public key in.

    Processes that run already notice within seconds. Both sides have to allow each other.
    """
    from lunar.cli.key_listing import allow_key

    raise typer.Exit(allow_key(transport, key, name, as_json=as_json))


@app.command("list", epilog=examples("lunar keys list", "lunar keys list --json"))
def list_allowed(transport: Transport = None, as_json: AsJson = False) -> None:
    """List the public keys that are let in, and where each stands.

    To take one back, remove it there and restart what runs.
    """
    from lunar.cli.key_listing import list_keys

    raise typer.Exit(list_keys(transport, as_json=as_json))
