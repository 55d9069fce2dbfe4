"""What the two hosts of a run say to each other: lines of JSON over TCP. No I/O here, only what may be said.

TCP and not Lunar itself: the two have to talk also when Lunar does not get through between them, if only to say so;
and a connection that breaks is noticed at once.

    client                                   server
    hello: protocol, host            ->
                                     <-      welcome: protocol, host, domain;  or refused: protocol, host, reason
    order: roles, work               ->
                                     <-      started: cores, note;  or refused
    beat (every second)              <->     beat
                                     <-      report: index, outcome        (once for each role)
    done                             ->                                    (whoever waits for it then reports)
                                     <-      failed: reason                (instead of any of these)

The server's part ends with its last report, a failure, or when the client is gone or silent. Whatever comes is checked
here: a server does nothing with it but start our own measuring processes, with numbers and words of the ranges below.
`hello`, `welcome` and `refused` keep their shape in all versions, so that two can tell each other that they differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, cast

from lunar_perf.checked_fields import Fields, WireError, read_object
from lunar_perf.host_facts import HostFacts
from lunar_perf.outcome import Outcome
from lunar_perf.sequence import Tally
from lunar_perf.work import (
    BACKENDS,
    RECEIVES,
    RELIABILITIES,
    SMALLEST_STAMPED_BYTES,
    WAITS,
    Backend,
    Receive,
    Reliability,
    Role,
    Wait,
    Work,
)

PROTOCOL: Final = 2
DEFAULT_PORT: Final = 7390
LONGEST_LINE_BYTES: Final = 1 << 14
LONGEST_REASON: Final = 1000

MOST_BYTES: Final = 1 << 26
MOST_COUNT: Final = 10_000_000
LONGEST_S: Final = 3600.0
MOST_BATCH: Final = 1 << 16
MOST_DEPTH: Final = 1 << 16
MOST_RECEIVERS: Final = 16

_LOOPS: Final = ("auto", "lunar", "asyncio", "uvloop")
_MANY: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Hello:
    """Who calls, and which protocol it speaks."""

    protocol: int
    host: HostFacts


@dataclass(frozen=True, slots=True)
class Welcome:
    """Who answers, and in which domain it measures."""

    protocol: int
    host: HostFacts
    domain: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing will be measured, and why."""

    protocol: int
    host: HostFacts
    reason: str


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: one process for each role, all pongs or all receivers."""

    role: Role
    work: Work


@dataclass(frozen=True, slots=True)
class Started:
    """The processes are being started on these cores; a reader of the figures has to know the note."""

    cores: tuple[int, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one of the processes, by its place among them, reported."""

    index: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Failed:
    """The other host's part went wrong."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The client's part is over."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Still there."""


Message = Hello | Welcome | Refused | Order | Started | Report | Failed | Done | Beat


def encode(message: Message) -> bytes:
    """The line that says it.

    Raises:
        WireError: it is longer than may be said.
    """
    line = json.dumps({"say": type(message).__name__.lower(), **asdict(message)}).encode() + b"\n"
    if len(line) > LONGEST_LINE_BYTES:
        raise WireError(f"a line of {len(line)} bytes; at most {LONGEST_LINE_BYTES}")
    return line


def decode(line: bytes) -> Message:
    """The inverse of :func:`encode`.

    Raises:
        WireError: the line is nothing that may be said.
    """
    if len(line) > LONGEST_LINE_BYTES:
        raise WireError(f"a line of more than {LONGEST_LINE_BYTES} bytes")
    fields = read_object(line)
    return _READERS[fields.choice("say", tuple(_READERS))](fields)


def presentable(text: str) -> str:
    """Any text as one printable line that is not too long to be sent, its end rather than its beginning."""
    line = " ".join(text.split())
    return "".join(each if each.isprintable() else "?" for each in line)[-LONGEST_REASON:]


def _hello(fields: Fields) -> Hello:
    return Hello(fields.integer("protocol", 0, 1 << 16), _host(fields))


def _welcome(fields: Fields) -> Welcome:
    return Welcome(fields.integer("protocol", 0, 1 << 16), _host(fields), fields.integer("domain", 0, 232))


def _refused(fields: Fields) -> Refused:
    return Refused(fields.integer("protocol", 0, 1 << 16), _host(fields), fields.text("reason", LONGEST_REASON))


def _host(fields: Fields) -> HostFacts:
    host = fields.inner("host")
    return HostFacts(*(host.text(name, 128) for name in ("name", "lunar", "kernel", "python")))


def _order(fields: Fields) -> Order:
    role, work = fields.choice("role", ("pong", "receive")), fields.inner("work")
    order = Order(cast("Role", role), _work(work))
    if role == "pong" and (order.work.subscribers != 1 or not order.work.count):
        raise WireError("a pong echoes for one, and at least one message")
    if role == "receive" and not order.work.message and order.work.size_bytes < SMALLEST_STAMPED_BYTES:
        raise WireError(f"size_bytes: expected at least {SMALLEST_STAMPED_BYTES}")
    return order


def _work(fields: Fields) -> Work:
    unknown = fields.names() - set(Work.__dataclass_fields__)
    if unknown:
        raise WireError(f"{len(unknown)} unknown field(s) of the work")
    return Work(
        size_bytes=fields.integer("size_bytes", 1, MOST_BYTES),
        # Only a class of the standard set, never a file: nothing of this host is read for a stranger.
        message=fields.text("message", 64, "([A-Z][A-Za-z0-9]*)?"),
        count=fields.integer("count", 0, MOST_COUNT),
        warmup=fields.integer("warmup", 0, MOST_COUNT),
        duration_s=fields.number("duration_s", 0, LONGEST_S),
        batch=fields.integer("batch", 1, MOST_BATCH),
        loan=fields.flag("loan"),
        wait=cast("Wait", fields.choice("wait", WAITS)),
        loop=fields.choice("loop", _LOOPS),
        receive=cast("Receive", fields.choice("receive", RECEIVES)),
        reliability=cast("Reliability", fields.choice("reliability", RELIABILITIES)),
        depth=fields.integer("depth", 1, MOST_DEPTH),
        subscribers=fields.integer("subscribers", 1, MOST_RECEIVERS),
        transport=fields.text("transport", 32, "([a-z][a-z0-9_]*)?"),
        backend=cast("Backend", fields.choice("backend", BACKENDS)),
        address=fields.text("address", 0),
        channel=fields.text("channel", 32, "perf_[0-9a-f]{12}"),
    )


def _started(fields: Fields) -> Started:
    return Started(fields.integers("cores", MOST_RECEIVERS, 0, 1 << 16), fields.text("note", LONGEST_REASON))


def _report(fields: Fields) -> Report:
    return Report(fields.integer("index", 0, MOST_RECEIVERS - 1), _outcome(fields.inner("outcome")))


def _outcome(fields: Fields) -> Outcome:
    """Of a pong or a receiver: neither has round trips, sent messages or a route to tell."""
    tally = fields.inner("tally")
    return Outcome(
        cpu_s=fields.number("cpu_s", 0, 1e9),
        elapsed_s=fields.number("elapsed_s", 0, 1e9),
        tally=Tally(*(tally.integer(name, 0, _MANY) for name in Tally.__dataclass_fields__)),
        lost_by_cause=fields.counts("lost_by_cause", 16, _MANY),
    )


def _failed(fields: Fields) -> Failed:
    return Failed(fields.text("reason", LONGEST_REASON))


_READERS: Final[Mapping[str, Callable[[Fields], Message]]] = {
    "hello": _hello,
    "welcome": _welcome,
    "refused": _refused,
    "order": _order,
    "started": _started,
    "report": _report,
    "failed": _failed,
    "done": lambda _: Done(),
    "beat": lambda _: Beat(),
}
