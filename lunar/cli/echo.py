"""`lunar topic echo`: prints what is published on a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lunar.cli import exit_codes, session
from lunar.cli.echo_forms import EchoForm, printer
from lunar.cli.graph_view import absolute_name, summarize_qos
from lunar.cli.output import flush_output, write_error, write_note, write_warning
from lunar.cli.qos_choice import observing_qos, starvation_warnings
from lunar.cli.quantities import format_count, plural
from lunar.cli.snapshots import look_at_topic, wait_for_publisher
from lunar.cli.topic_types import published_type

if TYPE_CHECKING:
    from lunar import Node, Subscription
    from lunar.cli.echo_forms import Show
    from lunar.cli.graph_view import TopicView

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
    """

    topic: str
    qos: Mapping[str, object]
    count: int | None
    timeout_s: float | None
    form: EchoForm


def run_echo(request: EchoRequest) -> int:
    """Prints messages until there were enough, none comes any more, or Ctrl-C.

    Returns:
        The exit code: not found if fewer messages came than were asked for, usage if they cannot be printed so.
    """
    topic = look_at_topic(absolute_name(request.topic))
    observing_qos([], request.qos)  # what is wrong with a wish is said at once
    if not topic.publishers:
        write_note(f"nobody publishes on {topic.name} yet; waiting (Ctrl-C ends)")
    return session.run(_echo(request, topic))


async def _echo(request: EchoRequest, topic: TopicView) -> int:
    async with session.open_node("echo", report_losses=True) as node:
        try:
            async with asyncio.timeout(request.timeout_s):
                topic = topic if topic.publishers else await wait_for_publisher(topic.name)
        except TimeoutError:
            _note_silence(request)
            return exit_codes.NOT_FOUND
        topic_type = published_type(topic)
        try:
            show = printer(request.form, topic.name, topic_type)
        except ValueError as error:
            write_error(str(error))
            return exit_codes.USAGE
        subscription = _subscribe(node, topic, topic_type.message, request)
        try:
            received = await _print_messages(subscription, show, request)
        finally:
            _report_losses(subscription)
    enough = 1 if request.count is None else request.count
    return exit_codes.OK if received >= enough else exit_codes.NOT_FOUND


def _subscribe(node: Node, topic: TopicView, message: type, request: EchoRequest) -> Subscription[object]:
    qos = observing_qos([publisher.qos for publisher in topic.publishers], request.qos)
    for warning in starvation_warnings(topic, qos):
        write_warning(warning)
    if request.form.verbose:
        write_note(f"requesting {summarize_qos(qos)}")
    return node.create_subscription(message, topic.name, qos=qos, verify=True)


async def _print_messages(subscription: Subscription[object], show: Show, request: EchoRequest) -> int:
    """Prints until there were enough or none comes any more; returns how many could be printed."""
    printed = 0
    while request.count is None or printed < request.count:
        limit = _BURST if request.count is None else min(_BURST, request.count - printed)
        try:
            async with asyncio.timeout(request.timeout_s):
                samples = await subscription.receive_many(limit)
        except TimeoutError:
            _note_silence(request)
            break
        printed += sum([show(sample) for sample in samples])
        del samples  # what is held is memory that the publisher misses
        flush_output()
        # A publisher that is faster than this loop would otherwise never let Ctrl-C in.
        await asyncio.sleep(0)
    return printed


def _note_silence(request: EchoRequest) -> None:
    write_note(f"no message within {request.timeout_s:g} s")


def _report_losses(subscription: Subscription[object]) -> None:
    counts = subscription.statistics()
    causes = {
        "overwritten before they were taken": counts.lost_overwritten,
        "because too many were held": counts.lost_held,
        "expired": counts.lost_expired,
        "on the network": counts.lost_network,
        "not what their type says": counts.lost_invalid,
    }
    if counts.lost:
        published = plural(counts.lost + counts.received, "message")
        reasons = ", ".join(f"{format_count(count)} {cause}" for cause, count in causes.items() if count)
        write_warning(f"{format_count(counts.lost)} of {published} lost: {reasons}")
