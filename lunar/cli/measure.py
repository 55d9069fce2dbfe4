"""`lunar topic hz` and `lunar topic bw`: how often, and how much, is published on a topic.

The measurement must not change what it measures. The subscription is best effort and keep_last, so it never makes the
publisher wait, and payloads are never touched, so not one page of them is read. While samples come fast, the queue is
emptied on a timer instead of on its doorbell: the publisher then never has a sleeping reader to wake.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from lunar.cli import exit_codes, session
from lunar.cli.graph_view import absolute_name
from lunar.cli.meter import Meter
from lunar.cli.output import flush_output, write_json, write_line, write_note
from lunar.cli.qos_choice import metering_qos
from lunar.cli.quantities import format_bytes, format_count, format_duration, format_rate, plural
from lunar.cli.snapshots import look_at_topic, wait_for_publisher
from lunar.cli.topic_types import published_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lunar import Node, Sample, Subscription
    from lunar.cli.graph_view import TopicView
    from lunar.cli.meter import Measurement

Quantity = Literal["hz", "bw"]

_BURST = 8192
"""Samples taken at once; they are released before the next burst, so this bounds what the publisher has to keep."""
_FAST_BURST = 16
"""Samples are coming fast if so many were waiting."""
_POLL_S = 0.005
"""The queue is emptied this often while samples come fast; `metering_qos` makes it deep enough for far longer."""


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure, and until when.

    Attributes:
        topic: The topic as the user wrote it.
        quantity: Which figures to print.
        window_s: Length of the rolling window, in seconds.
        interval_s: Print so often, in seconds.
        duration_s: End after so many seconds; None for no end.
        depth: Depth of the subscription; None to choose one that suits the size of the messages.
        as_json: Print JSON lines.
    """

    topic: str
    quantity: Quantity
    window_s: float
    interval_s: float
    duration_s: float | None
    depth: int | None
    as_json: bool


def run_measure(request: MeasureRequest) -> int:
    """Measures until the duration is over, or Ctrl-C.

    Returns:
        The exit code: not found if no message came.
    """
    topic = look_at_topic(absolute_name(request.topic))
    if not topic.publishers:
        write_note(f"nobody publishes on {topic.name} yet; waiting (Ctrl-C ends)")
    return session.run(_measure(request, topic))


async def _measure(request: MeasureRequest, topic: TopicView) -> int:
    meter = Meter(window_s=max(request.window_s, request.interval_s))
    async with session.open_node(request.quantity, report_losses=False) as node:
        try:
            async with asyncio.timeout(request.duration_s):
                topic = topic if topic.publishers else await wait_for_publisher(topic.name)
                await _count(await _subscribe(node, topic, request.depth), meter, request, topic.name)
        except TimeoutError:
            pass  # the duration is over, as wished
        finally:
            total = meter.total(time.monotonic())
            _print(total, "total", request, topic.name)
    return exit_codes.OK if total.received else exit_codes.NOT_FOUND


async def _subscribe(node: Node, topic: TopicView, depth: int | None) -> Subscription[object]:
    """Subscribes with a queue as deep as suits the size of the messages, which only a message can tell."""
    # A sample is decoded when its message is asked for, which never happens here.
    message = published_type(topic).message
    subscription: Subscription[object] = node.create_subscription(message, topic.name, qos=metering_qos(0, depth))
    if depth is not None:
        return subscription
    (first,) = await subscription.receive_many(1)
    qos = metering_qos(first.size_bytes)
    del first
    if qos == subscription.qos:
        return subscription
    shallower: Subscription[object] = node.create_subscription(message, topic.name, qos=qos)
    subscription.close()
    return shallower


async def _count(subscription: Subscription[object], meter: Meter, request: MeasureRequest, topic: str) -> NoReturn:
    report_s = time.monotonic() + request.interval_s
    burst = 0
    while True:
        samples = await _next_burst(subscription, burst, report_s)
        now_s = time.monotonic()
        sizes_bytes = [sample.size_bytes for sample in samples] if request.quantity == "bw" else ()
        meter.add([sample.info for sample in samples], sizes_bytes, now_s)
        burst = len(samples)
        del samples  # released before the next burst is taken
        if now_s >= report_s:
            report_s = max(report_s + request.interval_s, now_s)
            measurement = meter.report(now_s)
            if measurement.span_s:
                _print(measurement, "window", request, topic)


async def _next_burst(subscription: Subscription[object], burst: int, until_s: float) -> Sequence[Sample[object]]:
    """Takes what has come, after a wait that depends on how much it was last time.

    Args:
        subscription: Where from.
        burst: How many samples came last time.
        until_s: Monotonic time at which to stop waiting for a sample.
    """
    # Nothing may be awaited between taking samples and counting them: there Ctrl-C would lose them. Not even if we are
    # behind, as after a full burst, may nothing be awaited at all: that would keep Ctrl-C out.
    if burst >= _FAST_BURST:
        await asyncio.sleep(0 if burst == _BURST else _POLL_S)
        return subscription.take(_BURST)
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(max(0.0, until_s - time.monotonic())):
            return await subscription.receive_many(_BURST)
    except TimeoutError:
        return ()


def _print(measurement: Measurement, kind: Literal["window", "total"], request: MeasureRequest, topic: str) -> None:
    if request.as_json:
        figures = asdict(measurement)
        if request.quantity == "hz":
            for unmeasured in ("received_bytes", "bytes_per_s", "size_bytes"):
                del figures[unmeasured]
        write_json({"kind": kind, "topic": topic, **figures, "kept_up": not measurement.lost})
    else:
        describe = _describe_rate if request.quantity == "hz" else _describe_bandwidth
        write_line(f"{kind}: {describe(measurement)}")
    flush_output()


def _describe_rate(measurement: Measurement) -> str:
    text = f"{format_rate(measurement.rate_hz)} msg/s"
    period = measurement.period_s
    if period is not None:
        text += (
            f", period {format_duration(period.mean)} (min {format_duration(period.minimum)}, max "
            f"{format_duration(period.maximum)}, std dev {format_duration(period.standard_deviation)})"
        )
    return text + _describe_counts(measurement)


def _describe_bandwidth(measurement: Measurement) -> str:
    text = f"{format_bytes(measurement.bytes_per_s)}/s at {format_rate(measurement.received_hz)} msg/s"
    size = measurement.size_bytes
    if size is not None:
        text += (
            f", size {format_bytes(size.mean)} (min {format_bytes(size.minimum)}, max {format_bytes(size.maximum)})"
            f", {format_bytes(measurement.received_bytes)} in all"
        )
    return text + _describe_counts(measurement)


def _describe_counts(measurement: Measurement) -> str:
    received = f", received {format_count(measurement.received)}, lost {format_count(measurement.lost)}"
    over = f" in {measurement.span_s:.1f} s"
    if measurement.publishers > 1:
        over += f" from {plural(measurement.publishers, 'publisher')}"
    if measurement.lost:
        over += f"; could not keep up: {format_count(measurement.lost)} lost"
    return received + over
