"""The arguments that several commands share, each described once."""

from enum import StrEnum
from typing import Annotated

import typer

from lunar.cli.completion import complete_nodes, complete_topics, complete_transports


class Reliability(StrEnum):
    """The reliabilities of `lunar.QoS`, for option parsing and completion."""

    RELIABLE = "reliable"
    BEST_EFFORT = "best_effort"


class Durability(StrEnum):
    """The durabilities of `lunar.QoS`, for option parsing and completion."""

    VOLATILE = "volatile"
    TRANSIENT_LOCAL = "transient_local"


class History(StrEnum):
    """The histories of `lunar.QoS`, for option parsing and completion."""

    KEEP_LAST = "keep_last"
    KEEP_ALL = "keep_all"


class Datapath(StrEnum):
    """The datapaths of `lunar.QoS`, for option parsing and completion."""

    AUTO = "auto"
    FAST = "fast"
    STANDARD = "standard"


class Profile(StrEnum):
    """The names of `lunar.qos.PRESETS`, for option parsing and completion; a test holds the two together."""

    DEFAULT = "default"
    SENSOR_DATA = "sensor_data"
    PARAMETERS = "parameters"
    SERVICES_DEFAULT = "services_default"
    PARAMETER_EVENTS = "parameter_events"
    ACTION_STATUS_DEFAULT = "action_status_default"
    ROSOUT_DEFAULT = "rosout_default"
    SYSTEM_DEFAULT = "system_default"


Topic = Annotated[
    str,
    typer.Argument(metavar="TOPIC", help="Topic name; `chatter` means `/chatter`.", autocompletion=complete_topics),
]
NodeName = Annotated[
    str,
    typer.Argument(metavar="NODE", help="Node name; `talker` means `/talker`.", autocompletion=complete_nodes),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text; streams print a document a line.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print details too.")]
ShowHidden = Annotated[
    bool, typer.Option("--all", "-a", help="Include hidden names: those with a part that begins with _.")
]

QosProfile = Annotated[Profile | None, typer.Option("--qos-profile", help="A preset to begin with.")]
QosReliability = Annotated[Reliability | None, typer.Option("--qos-reliability", help="Reliability.")]
QosDurability = Annotated[Durability | None, typer.Option("--qos-durability", help="Durability.")]
QosHistory = Annotated[History | None, typer.Option("--qos-history", help="History.")]
QosDepth = Annotated[int | None, typer.Option("--qos-depth", min=1, metavar="N", help="Depth of the history.")]
QosDatapath = Annotated[
    Datapath | None, typer.Option("--qos-datapath", help="Between hosts: prefer or exclude kernel bypass.")
]
QosTransport = Annotated[
    str | None,
    typer.Option(
        "--qos-transport",
        metavar="NAME",
        help="The only transport that may serve, as zmq.",
        autocompletion=complete_transports,
    ),
]


def examples(*lines: str) -> str:
    """Lays out example command lines as the end of a help text.

    Args:
        lines: Command lines, each optionally followed by two spaces and a remark.
    """
    # The help renderer joins the lines of a paragraph: each example is a paragraph of its own.
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


def qos_wishes(
    reliability: Reliability | None,
    durability: Durability | None,
    history: History | None,
    depth: int | None,
    datapath: Datapath | None = None,
    transport: str | None = None,
) -> dict[str, object]:
    """Collects the fields of `lunar.QoS` that the user set, as `lunar.QoS` takes them."""
    fields = {
        "reliability": reliability and reliability.value,
        "durability": durability and durability.value,
        "history": history and history.value,
        "depth": depth,
        "datapath": datapath and datapath.value,
        "transport": transport,
    }
    return {name: value for name, value in fields.items() if value is not None}
