"""`lunar topic`: the arguments of its commands."""

from typing import Annotated, Literal

import typer

from lunar.cli.completion import complete_types
from lunar.cli.options import (
    AsJson,
    QosDatapath,
    QosDepth,
    QosDurability,
    QosHistory,
    QosProfile,
    QosReliability,
    QosTransport,
    ShowHidden,
    Topic,
    Verbose,
    examples,
    qos_wishes,
)

app = typer.Typer(
    help="Look at topics, measure them and publish on them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

_Window = Annotated[float, typer.Option(min=0.1, metavar="S", help="Length of the rolling window, in seconds.")]
_Interval = Annotated[float, typer.Option(min=0.05, metavar="S", help="Print every so many seconds.")]
_Duration = Annotated[float | None, typer.Option(min=0.0, metavar="S", help="End after so many seconds.")]
_MeterDepth = Annotated[
    int | None,
    typer.Option(
        "--qos-depth", min=1, metavar="N", help="Depth of the queue; by default as deep as 64 MiB of such messages."
    ),
]

_MAX_MESSAGE_BYTES = 2**32 - 1
"""What the layout of shared memory can say; a publisher's pool usually has less (LUNAR_POOL_BYTES)."""


@app.command("list", epilog=examples("lunar topic list -v", "lunar topic list --json"))
def list_topics(verbose: Verbose = False, hidden: ShowHidden = False, as_json: AsJson = False) -> None:
    """List the topics that somebody publishes or subscribes."""
    from lunar.cli.listing import list_topics

    raise typer.Exit(list_topics(verbose=verbose, hidden=hidden, as_json=as_json))


@app.command(epilog=examples("lunar topic info chatter", "lunar topic info odom -v  with the fields of its type"))
def info(topic: Topic, verbose: Verbose = False, as_json: AsJson = False) -> None:
    """Show a topic's type, who publishes and who subscribes it, and which of them do not match."""
    from lunar.cli.listing import show_topic

    raise typer.Exit(show_topic(topic, verbose=verbose, as_json=as_json))


@app.command(
    epilog=examples(
        "lunar topic echo chatter",
        "lunar topic echo odom --field pose.pose.position --count 1 --timeout 5",
        "lunar topic echo imu --csv --field header.stamp --field linear_acceleration > imu.csv",
        "lunar topic echo camera --count 1 --raw > image.bin",
    )
)
def echo(
    topic: Topic,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", "-f", metavar="PATH", help="Print this field, as pose.x or cells[3]; repeatable."),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a header, then a row a message: the fields that are single values.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Print long sequences and texts as a whole.")] = False,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, metavar="N", help="End after N messages.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, metavar="S", help="Give up when no message comes for so many seconds.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Print at most N bytes of a message of bytes as text.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes themselves, with nothing between them.")] = False,
    reliability: QosReliability = None,
    durability: QosDurability = None,
    history: QosHistory = None,
    depth: QosDepth = None,
    datapath: QosDatapath = None,
    transport: QosTransport = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Print the messages on a topic: typed ones by field, bytes as text if they are printable, else as a hex dump.

    The type is asked of the publisher: it need not be known here. A message that is not what its type says is reported
    and not printed.

    By default the QoS is what the publishers offer, so nothing is missed by a mismatch. A publisher is never made to
    wait; messages that are lost because printing is slow are counted on stderr.
    """
    from lunar.cli.echo import EchoRequest, run_echo
    from lunar.cli.echo_forms import EchoForm

    if raw + as_json + as_csv > 1:
        raise typer.BadParameter("--raw, --json and --csv exclude each other")
    if raw and fields:
        raise typer.BadParameter("--raw and --field exclude each other")
    form = EchoForm(
        "raw" if raw else "json" if as_json else "csv" if as_csv else "text",
        tuple(fields or ()),
        full,
        limit,
        verbose,
    )
    wishes = qos_wishes(reliability, durability, history, depth, datapath, transport)
    request = EchoRequest(topic, wishes, count, timeout, form)
    raise typer.Exit(run_echo(request))


@app.command(epilog=examples("lunar topic hz chatter", "lunar topic hz chatter --duration 10 --json"))
def hz(
    topic: Topic,
    window: _Window = 5.0,
    interval: _Interval = 1.0,
    duration: _Duration = None,
    depth: _MeterDepth = None,
    as_json: AsJson = False,
) -> None:
    """Measure how often messages are published on a topic.

    The rate is that of the publishers, by sequence numbers and source times. Payloads are not touched and no publisher
    is slowed; if this command cannot keep up it says how many messages it lost.
    """
    _measure("hz", topic, window, interval, duration, depth, as_json)


@app.command(epilog=examples("lunar topic bw camera", "lunar topic bw camera --duration 10 --json"))
def bw(
    topic: Topic,
    window: _Window = 5.0,
    interval: _Interval = 1.0,
    duration: _Duration = None,
    depth: _MeterDepth = None,
    as_json: AsJson = False,
) -> None:
    """Measure how many bytes a second arrive on a topic.

    Payloads are not touched and no publisher is slowed; if this command cannot keep up it says how many messages it
    lost.
    """
    _measure("bw", topic, window, interval, duration, depth, as_json)


def _measure(
    quantity: Literal["hz", "bw"],
    topic: str,
    window: float,
    interval: float,
    duration: float | None,
    depth: int | None,
    as_json: bool,
) -> None:
    from lunar.cli.measure import MeasureRequest, run_measure

    request = MeasureRequest(
        topic=topic,
        quantity=quantity,
        window_s=window,
        interval_s=interval,
        duration_s=duration,
        depth=depth,
        as_json=as_json,
    )
    raise typer.Exit(run_measure(request))


@app.command(
    epilog=examples(
        'lunar topic pub chatter "hello"',
        "lunar topic pub cmd_vel '{linear: {x: 0.5}}' --rate 10",
        "lunar topic pub odom '{header: {frame_id: map}}' --type nav_msgs.Odometry",
        "lunar topic pub chatter hello --rate 10 --count 100",
        "lunar topic pub load --size 1000000 --rate 30 --wait-subscribers 2",
        "lunar topic pub frame --hex 'de ad be ef'",
    )
)
def pub(
    topic: Topic,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="The message: its fields, or text on a topic of bytes.", show_default=False
        ),
    ] = None,
    type_name: Annotated[
        str | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            help="The message type, as geometry_msgs.Twist or robot.fbs:robot.State; bytes stands for none.",
            autocompletion=complete_types,
        ),
    ] = None,
    hex_digits: Annotated[
        str | None, typer.Option("--hex", metavar="DIGITS", help="The message as hexadecimal digits.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="A file whose content is the message; - is stdin.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=0, max=_MAX_MESSAGE_BYTES, metavar="N", help="Random messages of N bytes.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, metavar="N", help="End after N messages [one without --rate].")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", "-r", min=0.0, metavar="HZ", help="Messages a second; 0 is as fast as the QoS allows."),
    ] = None,
    wait_subscribers: Annotated[
        int | None,
        typer.Option(
            "--wait-subscribers",
            "-w",
            min=0,
            metavar="N",
            help="Begin when N subscriptions match [1 with an end, else 0].",
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, metavar="S", help="Give up waiting for subscriptions after so long.")
    ] = None,
    keep_alive: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="Stay so many seconds after the last message.")
    ] = 0.0,
    profile: QosProfile = None,
    reliability: QosReliability = None,
    durability: QosDurability = None,
    history: QosHistory = None,
    depth: QosDepth = None,
    datapath: QosDatapath = None,
    transport: QosTransport = None,
    as_json: AsJson = False,
) -> None:
    """Publish messages on a topic.

    The type is that of the topic's subscriptions or publishers, or what --type says; where nobody is yet, bytes. Fields
    are written as JSON, in which names and plain words need no quotes; those left out have their defaults.

    Without --rate and --count one message is published, with --count alone one a second, with --rate alone it goes on
    until Ctrl-C.
    """
    from lunar.cli.graph_view import absolute_name
    from lunar.cli.message_source import PayloadSource, choose_source
    from lunar.cli.publish import PublishRequest, run_publish
    from lunar.cli.qos_choice import publishing_qos
    from lunar.cli.snapshots import look_at_topic
    from lunar.errors import LunarError

    wishes = qos_wishes(reliability, durability, history, depth, datapath, transport)
    qos = publishing_qos(profile and profile.value, wishes)
    try:
        payload = PayloadSource(data, hex_digits, file, size)
        payload.check()
        source = choose_source(payload, type_name, look_at_topic(absolute_name(topic)))
    except LunarError:  # some of them are a ValueError as well
        raise
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    if count is None and rate is None:
        count = 1
    request = PublishRequest(
        topic=absolute_name(topic),
        source=source,
        qos=qos,
        count=count,
        rate_hz=1.0 if rate is None else rate or None,
        wait_subscribers=(count is not None) if wait_subscribers is None else wait_subscribers,
        timeout_s=timeout,
        keep_alive_s=keep_alive,
        as_json=as_json,
    )
    raise typer.Exit(run_publish(request))
