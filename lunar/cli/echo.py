"""`lunar topic echo`: prints what is published on a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from lunar.cli import exit_codes, session
from lunar.cli.graph_view import absolute_name, summarize_qos
from lunar.cli.output import flush_output, write_bytes, write_json, write_line, write_note, write_warning
from lunar.cli.payload import encode_payload, show_payload
from lunar.cli.qos_choice import observing_qos, starvation_warnings
from lunar.cli.quantities import format_count, plural
from lunar.cli.snapshots import look_at_topic

if TYPE_CHECKING:
    from lunar import Sample, Subscription
    from lunar.qos import QoS

Form = Literal["text", "json", "raw"]

_BURST = 64
"""Samples taken at once: few, because what is held while a terminal scrolls is memory that the publisher misses."""


@dataclass(frozen=True)
class EchoRequest:
    """What to print, and until when.

    Attributes:
        topic: The topic as the user wrote it.
        qos: Fields of `lunar.QoS` to request instead of what the publishers offer.
        count: End after this many messages; None for no end.
        timeout_s: Give up when no message comes for so long, in seconds; None to wait for ever.
        form: How messages are printed.
        limit_bytes: Print at most so much of a message as text; None for all of it.
        verbose: Say who sent each message, when, and how large it is.
    """

    topic: str
    qos: Mapping[str, object]
    count: int | None
    timeout_s: float | None
    form: Form
    limit_bytes: int | None
    verbose: bool


def run_echo(request: EchoRequest) -> int:
    """Prints messages until there were enough, none comes any more, or Ctrl-C.

    Returns:
        The exit code: not found if fewer messages came than were asked for.
    """
    topic = look_at_topic(absolute_name(request.topic))
    qos = observing_qos([publisher.qos for publisher in topic.publishers], request.qos)
    if not topic.publishers:
        write_note(f"nobody publishes on {topic.name} yet; waiting (Ctrl-C ends)")
    for warning in starvation_warnings(topic, qos):
        write_warning(warning)
    if request.verbose:
        write_note(f"requesting {summarize_qos(qos)}")
    return session.run(_echo(request, topic.name, qos))


async def _echo(request: EchoRequest, topic: str, qos: QoS) -> int:
    show = _printer(request, topic)
    received = 0
    async with session.open_node("echo", report_losses=True) as node:
        subscription = node.create_subscription(bytes, topic, qos=qos)
        try:
            while request.count is None or received < request.count:
                limit = _BURST if request.count is None else min(_BURST, request.count - received)
                async with asyncio.timeout(request.timeout_s):
                    samples = await subscription.receive_many(limit)
                for sample in samples:
                    show(sample)
                received += len(samples)
                flush_output()
                # A publisher that is faster than this loop would otherwise never let Ctrl-C in.
                await asyncio.sleep(0)
        except TimeoutError:
            write_note(f"no message within {request.timeout_s:g} s")
        finally:
            _report_losses(subscription)
    enough = 1 if request.count is None else request.count
    return exit_codes.OK if received >= enough else exit_codes.NOT_FOUND


def _printer(request: EchoRequest, topic: str) -> Callable[[Sample[memoryview]], None]:
    match request.form:
        case "raw":
            return lambda sample: write_bytes(sample.message)
        case "json":
            return lambda sample: _print_json(sample, topic)
        case "text":
            return lambda sample: _print_text(sample, request.limit_bytes, request.verbose)


def _print_json(sample: Sample[memoryview], topic: str) -> None:
    payload = encode_payload(sample.message)
    write_json(
        {
            "topic": topic,
            "sequence_number": sample.info.sequence_number,
            "source_time_ns": sample.info.source_time_ns,
            "reception_time_ns": sample.info.reception_time_ns,
            "publisher_id": sample.info.publisher_id,
            "size_bytes": sample.size_bytes,
            "encoding": payload.encoding,
            "data": payload.data,
        }
    )


def _print_text(sample: Sample[memoryview], limit_bytes: int | None, verbose: bool) -> None:
    if verbose:
        info = sample.info
        sent = datetime.fromtimestamp(info.source_time_ns * 1e-9).astimezone().isoformat(timespec="microseconds")
        write_line(f"# {info.sequence_number} from {info.publisher_id} at {sent}, {plural(sample.size_bytes, 'byte')}")
    write_line(show_payload(sample.message, limit_bytes))


def _report_losses(subscription: Subscription[memoryview]) -> None:
    counts = subscription.statistics()
    causes = {
        "overwritten before they were taken": counts.lost_overwritten,
        "because too many were held": counts.lost_held,
        "expired": counts.lost_expired,
    }
    if counts.lost:
        published = plural(counts.lost + counts.received, "message")
        reasons = ", ".join(f"{format_count(count)} {cause}" for cause, count in causes.items() if count)
        write_warning(f"{format_count(counts.lost)} of {published} lost: {reasons}")
