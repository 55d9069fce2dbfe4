"""`lunar explain`: its arguments."""

from typing import Annotated, cast

import typer
import typer.core

from lunar.cli.completion import complete_hosts, complete_qos
from lunar.cli.options import AsJson, Topic, examples

app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


class _ExplainCommand(typer.core.TyperCommand):
    """Takes one or two words after `--between`, as no option of the parser's own does."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: object = None, **extra: object
    ) -> typer.Context:
        """Turns `--between A B` into `--between A --between B`."""
        from lunar.cli.places import PLACES

        at = args.index("--between") if "--between" in args else len(args)
        first, second = [*args[at + 1 : at + 3], "-", "-"][:2]
        if not first.startswith("-") and first not in PLACES and not second.startswith("-"):
            args = [*args[: at + 2], "--between", *args[at + 2 :]]
        context = super().make_context(info_name, args, cast("typer.Context | None", parent), **extra)
        return cast("typer.Context", context)


@app.command(
    cls=_ExplainCommand,
    epilog=examples(
        "lunar explain chatter",
        "lunar explain chatter --json",
        "lunar explain chatter --qos transport=zmq --between network",
        "lunar explain chatter --qos sensor_data --qos reliability=reliable --between here mars",
    ),
)
def explain(
    topic: Topic,
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--qos",
            metavar="PROFILE",
            help="Imagine ends with this profile: presets and FIELD=VALUE, with commas; a second one is the request.",
            autocompletion=complete_qos,
        ),
    ] = None,
    between: Annotated[
        list[str] | None,
        typer.Option(
            "--between",
            metavar="HOST_A HOST_B",
            help="Imagine ends on these hosts; or one word: host (both on one) or network (two like this one).",
            autocompletion=complete_hosts,
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Suppose that the messages have N bytes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which transport serves each publisher and subscription of a topic, and what spoke against the others.

    It is computed from what their processes announce, as they themselves do it. With --qos or --between it is computed
    for ends that are only imagined, from the transports that are installed here; the topic need not exist.
    """
    from lunar.cli.explanation import explain_imagined, explain_topic
    from lunar.cli.places import PLACES

    if len(profiles or ()) > 2:
        raise typer.BadParameter("--qos may stand twice: the publisher's and the subscription's profile")
    if between and (len(between) > 2 or (len(between) == 1 and between[0] not in PLACES)):
        raise typer.BadParameter(f"--between takes two hosts, or one of {', '.join(PLACES)}")
    if profiles or between:
        code = explain_imagined(topic, profiles or [], between or [], message_bytes=size, as_json=as_json)
    else:
        code = explain_topic(topic, message_bytes=size, as_json=as_json)
    raise typer.Exit(code)
