"""`lunar perf`: the arguments of its commands. The tools themselves are in `lunar_perf`, imported when one runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from lunar.cli import exit_codes
from lunar.cli.completion import complete_remotes
from lunar.cli.options import AsJson, Reliability, examples
from lunar.cli.output import Table, write_error, write_json, write_line, write_note, write_table, write_warning

if TYPE_CHECKING:
    from lunar_perf.results import Failure
    from lunar_perf.side import Server
    from lunar_perf.tables import TextTable

T = TypeVar("T")

_SIZE_BYTES = 64
"""Of a payload, where the user says nothing."""

_QUIET_CORES = 0.1
"""What a machine does besides that need not be mentioned."""

app = typer.Typer(
    help="Measure latency and throughput.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


class Transport(StrEnum):
    """What can carry the samples of a measurement."""

    SHM = "shm"
    ZMQ = "zmq"
    DDS = "dds"
    XDP = "xdp"


class Backend(StrEnum):
    """What the transport `xdp` sends by; `lunar_perf.work.Backend` for option parsing."""

    AUTO = "auto"
    AF_XDP = "af_xdp"
    UDP = "udp"


class Wait(StrEnum):
    """How a measured process waits; `lunar_perf.work.Wait` for option parsing."""

    SPIN = "spin"
    ADAPTIVE = "adaptive"
    SLEEP = "sleep"


class Receive(StrEnum):
    """The forms of reception; `lunar_perf.work.Receive` for option parsing."""

    ITERATE = "iterate"
    CALLBACK = "callback"
    BURST = "burst"
    BLOCKING = "blocking"


class Loop(StrEnum):
    """The event loops that `lunar.run` knows."""

    AUTO = "auto"
    LUNAR = "lunar"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


_Transport = Annotated[
    Transport | None,
    typer.Option(
        help="What carries the samples; default: shm, with --remote whatever is chosen. zmq, dds, xdp: with --remote, "
        "or between two hosts of a lab (network namespaces), which needs root."
    ),
]
_Backend = Annotated[
    Backend | None,
    typer.Option(
        help="With --transport xdp, on both hosts: af_xdp passes the kernel's network stack by, udp goes through it, "
        "auto takes the former where it can be had; default: as the settings say."
    ),
]
_Remote = Annotated[
    str,
    typer.Option(
        metavar="HOST\\[:PORT]",
        help="The other end is on that machine, where `lunar perf serve` runs.",
        autocompletion=complete_remotes,
    ),
]
_Wait = Annotated[
    Wait,
    typer.Option(
        help="spin: blocking calls, always busy. adaptive: asyncio under lunar.run, which spins briefly before it "
        "sleeps. sleep: asyncio that never spins."
    ),
]
_Loop = Annotated[Loop, typer.Option(help="Event loop; with --wait sleep, auto means asyncio.")]
_Size = Annotated[int, typer.Option(min=1, metavar="BYTES", help="Payload size.")]
_EchoedSize = Annotated[int | None, typer.Option(min=1, metavar="BYTES", help="Payload size; default: 64.")]
_StampedSize = Annotated[
    int | None, typer.Option(min=8, metavar="BYTES", help="Payload size, sequence number included; default: 64.")
]
_Message = Annotated[
    str,
    typer.Option(
        metavar="CLASS",
        help="Send messages of this class instead of bytes: Imu, Image or another of lunar.msgs, or robot.fbs:State.",
    ),
]
_Loan = Annotated[bool, typer.Option("--loan", help="Publish loaned memory, untouched, instead of copying in.")]


@app.command(
    "ping-pong",
    epilog=examples(
        "lunar perf ping-pong",
        "lunar perf ping-pong --wait spin --size 4194304 --loan",
        "lunar perf ping-pong --wait sleep --loop uvloop --json",
        "lunar perf ping-pong --wait spin --message Imu",
        "lunar perf ping-pong --transport xdp --backend udp --wait spin",
        "lunar perf ping-pong --remote robot --transport zmq  (with `lunar perf serve` on robot)",
    ),
)
def ping_pong(
    transport: _Transport = None,
    backend: _Backend = None,
    remote: _Remote = "",
    wait: _Wait = Wait.ADAPTIVE,
    size: _EchoedSize = None,
    message: _Message = "",
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Round trips to measure.")] = 20_000,
    warmup: Annotated[int, typer.Option(min=1, metavar="N", help="Round trips before that.")] = 1_000,
    loan: _Loan = False,
    loop: _Loop = Loop.AUTO,
    as_json: AsJson = False,
) -> None:
    """Measure the round trip between two processes, each pinned to a core of its own, or with --remote on another host.

    Every round trip is recorded, so the percentiles are exact. The first echo is compared with what was sent.
    """
    from lunar_perf.link_lab import run_on
    from lunar_perf.ping_pong import run_ping_pong
    from lunar_perf.report import ping_pong_json
    from lunar_perf.tables import ping_pong_table, way_tables
    from lunar_perf.work import Work

    server = _server(remote, transport, message)
    size_bytes = _size_bytes(message, size)
    work = Work(
        size_bytes,
        message=message,
        count=count,
        warmup=warmup,
        wait=wait.value,
        loan=loan,
        loop=loop.value,
        transport=_between_hosts(transport),
        backend=_of_xdp(backend, transport),
    )
    write_note(f"{warmup:,} + {count:,} round trips of {size_bytes:,} bytes, wait {wait.value}")
    result = _or_exit(lambda: run_on(lambda sides: run_ping_pong("lunar", work, sides), work, server))
    document = ping_pong_json(result, result.transport or work.transport)
    _show(as_json, document, [ping_pong_table(result), *(way_tables(result) if server else ())], result.note)


@app.command(
    epilog=examples(
        "lunar perf throughput",
        "lunar perf throughput --batch 64 --receive burst",
        "lunar perf throughput --message Image --loan",
        "lunar perf throughput --size 1048576 --subscribers 3 --seconds 5 --json",
        "lunar perf throughput --remote 192.0.2.7 --reliability best_effort",
    )
)
def throughput(
    transport: _Transport = None,
    backend: _Backend = None,
    remote: _Remote = "",
    wait: _Wait = Wait.ADAPTIVE,
    size: _StampedSize = None,
    message: _Message = "",
    seconds: Annotated[float, typer.Option(min=0.05, metavar="S", help="How long to send.")] = 3.0,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Messages a publish call.")] = 1,
    subscribers: Annotated[int, typer.Option(min=1, metavar="N", help="Receiving processes.")] = 1,
    reliability: Annotated[
        Reliability, typer.Option(help="reliable keeps all: the publisher waits and nothing is lost.")
    ] = Reliability.RELIABLE,
    receive: Annotated[Receive | None, typer.Option(help="Form of reception; default: iterate.")] = None,
    depth: Annotated[int, typer.Option(min=1, metavar="N", help="Queue depth, less for large payloads.")] = 1024,
    loan: Annotated[
        bool, typer.Option("--loan", help="Publish loans, written up to the sequence number only.")
    ] = False,
    loop: _Loop = Loop.AUTO,
    as_json: AsJson = False,
) -> None:
    """Measure how many messages a second arrive, and how many are lost, by their sequence numbers.

    Rates are over each receiver's own time from the first to the last message; with several subscribers they add up.
    """
    from lunar_perf.link_lab import run_on
    from lunar_perf.report import throughput_json
    from lunar_perf.tables import throughput_table, way_tables
    from lunar_perf.throughput import run_throughput
    from lunar_perf.work import Work

    form = receive or _usual_form(wait, message)
    _check_form(wait, form, batch, loan)
    if message and form is not Receive.BURST:
        raise typer.BadParameter(f"--receive {form.value} counts by a number in the payload; with --message: burst")
    server = _server(remote, transport, message)
    size_bytes = _size_bytes(message, size)
    work = Work(
        size_bytes,
        message=message,
        warmup=max(10, min(2000, (1 << 24) // size_bytes)),
        duration_s=seconds,
        batch=batch,
        loan=loan,
        wait=wait.value,
        loop=loop.value,
        receive=form.value,
        reliability=reliability.value,
        depth=depth,
        subscribers=subscribers,
        transport=_between_hosts(transport),
        backend=_of_xdp(backend, transport),
    )
    write_note(f"sending messages of {size_bytes:,} bytes for {seconds:g} s to {subscribers} subscriber(s)")
    result = _or_exit(lambda: run_on(lambda sides: run_throughput("lunar", work, sides), work, server))
    document = throughput_json(result, result.transport or work.transport)
    _show(as_json, document, [throughput_table(result), *(way_tables(result) if server else ())], result.note)


@app.command(
    epilog=examples(
        "lunar perf serve",
        "lunar perf serve --bind eth0 --port 7391 --once --json",
        "lunar perf ping-pong --remote HOST  (on the other machine)",
    )
)
def serve(
    bind: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Listen at this address or interface only; default: at every interface that Lunar may use.",
        ),
    ] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="TCP port; 0: a free one.")] = 7390,
    once: Annotated[bool, typer.Option("--once", help="End after one run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Be the other end of `ping-pong` and `throughput --remote` on another machine, one run at a time, until Ctrl-C.

    Whoever reaches the port may have this host measured: there is no password, and what is said is not encrypted.
    Nothing that is sent is executed.
    """
    from lunar.cli.perf_server import serve as run

    raise typer.Exit(run(bind, port, once=once, as_json=as_json))


def _between_hosts(transport: Transport | None) -> str:
    """The transport as `lunar_perf.work.Work` names it: empty for the one within a host, and for any."""
    return "" if transport is None or transport is Transport.SHM else transport.value


def _of_xdp(backend: Backend | None, transport: Transport | None) -> Literal["", "auto", "af_xdp", "udp"]:
    """The backend as `lunar_perf.work.Work` names it: empty for what the settings say."""
    if backend is None:
        return ""
    if transport is not Transport.XDP:
        raise typer.BadParameter(f"--backend {backend.value} is one of the transport xdp; add --transport xdp")
    return backend.value


def _server(remote: str, transport: Transport | None, message: str) -> Server | None:
    """Where the other end is, if it is on another machine."""
    from lunar_perf.side import Server
    from lunar_perf.wire import DEFAULT_PORT

    if not remote:
        return None
    if transport is Transport.SHM:
        raise typer.BadParameter(
            "--transport shm stays within a host; with --remote: zmq, dds, xdp, or none to have one chosen"
        )
    if ":" in message:
        raise typer.BadParameter("--remote takes classes of lunar.msgs only: the other host has no such file")
    try:
        return Server.parse(remote, DEFAULT_PORT)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--remote") from error


def _usual_form(wait: Wait, message: str) -> Receive:
    if message:
        return Receive.BURST
    return Receive.BLOCKING if wait is Wait.SPIN else Receive.ITERATE


def _size_bytes(message: str, size: int | None) -> int:
    """The payload's size: what the user said, or a message's own."""
    from lunar_perf.typed_messages import UnknownMessage, encoded_bytes

    if not message:
        return _SIZE_BYTES if size is None else size
    if size is not None:
        raise typer.BadParameter("--size and --message exclude each other: a message has a size of its own")
    try:
        return encoded_bytes(message)
    except UnknownMessage as error:
        raise typer.BadParameter(str(error), param_hint="--message") from error


def _check_form(wait: Wait, receive: Receive, batch: int, loan: bool) -> None:
    if wait is Wait.SPIN and receive not in (Receive.BLOCKING, Receive.BURST):
        raise typer.BadParameter(f"--receive {receive.value} needs an event loop; with --wait spin: blocking or burst")
    if wait is not Wait.SPIN and receive is Receive.BLOCKING:
        raise typer.BadParameter("--receive blocking goes with --wait spin")
    if loan and batch > 1:
        raise typer.BadParameter("--loan and --batch exclude each other: a loan is one message")


@app.command(epilog=examples("lunar perf fanout", "lunar perf fanout --size 64 --loan --subscriptions 64 --json"))
def fanout(
    size: _Size = 1 << 20,
    subscriptions: Annotated[int, typer.Option(min=1, metavar="N", help="Subscriptions at most.")] = 32,
    processes: Annotated[int, typer.Option(min=1, metavar="M", help="Processes they are spread over.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="How often each number is measured.")] = 15,
    publishes: Annotated[int, typer.Option(min=1, metavar="N", help="Publishes each time.")] = 100,
    loan: _Loan = False,
    idle: Annotated[bool, typer.Option("--idle", help="Receivers take nothing, so no publish wakes anybody.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what a publish costs the publisher, by number of subscriptions.

    The cost of one more subscription is the slope of a straight line through the measured numbers.
    """
    from lunar_perf.fanout import run_fanout
    from lunar_perf.report import fanout_json
    from lunar_perf.tables import fanout_table

    if processes > subscriptions:
        raise typer.BadParameter(f"{processes} processes for {subscriptions} subscriptions: at most one each")
    write_note(f"publishing {size:,} bytes to up to {subscriptions} subscriptions in {processes} processes")
    result = _or_exit(
        lambda: run_fanout(size, subscriptions, processes, rounds=rounds, publishes=publishes, loan=loan, idle=idle)
    )
    _show(as_json, fanout_json(result), [fanout_table(result)], result.note)


@app.command(epilog=examples("lunar perf codec", "lunar perf codec --seconds 60 --json > codec.json"))
def codec(
    seconds: Annotated[float, typer.Option(min=0.2, metavar="S", help="How long to measure, about.")] = 20.0,
    repetitions: Annotated[int, typer.Option(min=1, metavar="N", help="How often everything is measured.")] = 3,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw all codecs into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    r"""Measure what messages cost besides bytes, and other codecs on the same message, interleaved in one run.

    A codec that is not installed is named as unavailable; `pip install lunar-mom\[compare]` installs all of them.
    """
    from lunar_perf.codec import run_codec
    from lunar_perf.codec_plot import write_codec_plot
    from lunar_perf.codec_report import codec_json, codec_tables

    comparison = run_codec(seconds, write_note, repetitions)
    results = comparison.results
    _warn_of_gaps(results.unavailable, results.failures, comparison.background_cores)
    _show(as_json, codec_json(comparison), codec_tables(comparison), "")
    if plot is not None:
        _draw(lambda: write_codec_plot(comparison, plot), plot)


@app.command(epilog=examples("lunar perf footprint", "lunar perf footprint --processes 20 --json"))
def footprint(
    processes: Annotated[int, typer.Option(min=2, metavar="N", help="Size of the crowd.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.5, metavar="S", help="How long to watch the idle node.")] = 5.0,
    at_once: Annotated[bool, typer.Option("--at-once", help="Start the crowd as fast as it can be started.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what Lunar costs while nothing is sent: start-up, an idle node, a crowd of processes that all match."""
    from dataclasses import asdict

    from lunar_perf.footprint import measure_crowd, measure_idle, measure_start_up
    from lunar_perf.tables import footprint_table

    write_note("start-up")
    start_up = _or_exit(measure_start_up)
    write_note(f"an idle node, for {seconds:g} s")
    idle = _or_exit(lambda: measure_idle(seconds))
    write_note(f"{processes} processes, each matched with all")
    crowd = _or_exit(lambda: measure_crowd(processes, at_once))
    document = {"start_up": asdict(start_up), "idle": asdict(idle), "crowd": asdict(crowd)}
    _show(as_json, document, [footprint_table(start_up, idle, crowd)], "")


@app.command(
    epilog=examples(
        "lunar perf compare --quick",
        "lunar perf compare --only iceoryx2 --only pyzmq",
        "lunar perf compare --json --plot compare.png > compare.json",
    )
)
def compare(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PEER", help="Compare with this peer only; repeatable.")
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, metavar="N", help="How often everything is measured.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="A third of the time, rougher figures.")] = False,
    link: Annotated[
        bool,
        typer.Option("--link", help="Between two hosts: network namespaces with a cable between them. Needs root."),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw latency by percentile and by size into this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    r"""Measure Lunar and its peers doing the same work, interleaved in one run, and hold Lunar to its targets.

    A peer that is not installed is left out; `pip install lunar-mom\[compare]` installs all of them.
    """
    from lunar_perf.compare import compare
    from lunar_perf.peer import PEERS
    from lunar_perf.plots import write_plot
    from lunar_perf.report import comparison_json
    from lunar_perf.tables import comparison_tables

    if link:
        if only:
            raise typer.BadParameter("--link and --only exclude each other: over a link all peers are measured")
        _compare_link(repetitions, quick, plot, as_json)
        return
    unknown = [name for name in only or [] if name not in PEERS or name == "lunar"]
    if unknown:
        known = ", ".join(name for name in PEERS if name != "lunar")
        raise typer.BadParameter(f"unknown peer {', '.join(unknown)}; known: {known}")
    comparison = compare(only or [], repetitions=repetitions, quick=quick, sweep=plot is not None, progress=write_note)
    _warn_of_gaps(comparison.unavailable, comparison.results.failures, comparison.background_cores)
    _show(as_json, comparison_json(comparison), comparison_tables(comparison), "")
    if plot is not None:
        _draw(lambda: write_plot(comparison, plot), plot)


def _compare_link(repetitions: int, quick: bool, plot: Path | None, as_json: bool) -> None:
    from lunar_perf.link_compare import compare_link
    from lunar_perf.link_plot import write_link_plot
    from lunar_perf.link_report import link_json, link_tables

    comparison = _or_exit(
        lambda: compare_link(repetitions=repetitions, quick=quick, sweep=plot is not None, progress=write_note)
    )
    _warn_of_gaps(comparison.unavailable, comparison.results.runs.failures, comparison.background_cores)
    _show(as_json, link_json(comparison), link_tables(comparison), "")
    if plot is not None:
        _draw(lambda: write_link_plot(comparison, plot), plot)


def _warn_of_gaps(unavailable: Mapping[str, str], failures: Sequence[Failure], background_cores: float) -> None:
    from lunar_perf.peer import remedy_of

    for name, reason in unavailable.items():
        write_warning(f"{name} is left out: {reason}; remedy: {remedy_of(name)}")
    for failure in failures:
        write_warning(f"{failure.key}, repetition {failure.repetition + 1}, gave no result: {failure.reason}")
    if background_cores > _QUIET_CORES:
        write_warning(
            f"other processes kept {background_cores:.1f} cores busy meanwhile: absolute figures suffer, ratios less so"
        )


def _draw(write: Callable[[], None], path: Path) -> None:
    from lunar_perf.peer import REMEDY

    try:
        write()
    except ImportError as error:
        write_error(f"no plot: {error}; remedy: {REMEDY}")
        raise typer.Exit(exit_codes.NOT_FOUND) from error
    except OSError as error:
        write_error(f"no plot: {error}")
        raise typer.Exit(exit_codes.NOT_FOUND) from error
    write_note(f"drawn into {path}")


def _or_exit(measure: Callable[[], T]) -> T:
    """What a measurement gives, or its reason on stderr and a failing exit code."""
    from subprocess import SubprocessError

    from lunar_perf.children import RunFailed

    from lunar.errors import LunarError

    try:
        return measure()
    except (RunFailed, SubprocessError, LunarError) as error:
        write_error(str(error))
        raise typer.Exit(exit_codes.NOT_FOUND) from error


def _show(as_json: bool, document: Mapping[str, object], tables: Sequence[TextTable], note: str) -> None:
    if as_json:
        write_json(document)
        return
    for index, table in enumerate(tables):
        if index:
            write_line()
        write_table(Table(table.headings, table.rows, table.title))
    if note:
        write_warning(note)
