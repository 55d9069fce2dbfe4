import dataclasses
from collections.abc import Callable
from dataclasses import replace

import pytest

from lunar import events
from lunar.events import (
    DeadlineMissed,
    EndpointEvent,
    Event,
    IncompatibleQoS,
    LivelinessLost,
    Matched,
    NotEncrypted,
    NoTransport,
    PeerFaulted,
    SamplesLost,
    TransportChanged,
    TypeMismatch,
    Unmatched,
)
from lunar.graph.descriptions import EndpointInfo
from lunar.qos import QoS, incompatibilities

HERE = EndpointInfo("01" * 16, "publisher", "/chatter", "bytes", "ab" * 16, QoS(deadline_s=0.5, lease_s=2), "/t", 1)
THERE = EndpointInfo("02" * 16, "subscription", "/chatter", "Image", "cd" * 16, QoS(), "/l", 2)
PLAIN = replace(HERE, qos=QoS())
HERE_TEXT = "publisher of /chatter in node /t (pid 1)"
THERE_TEXT = "subscription of /chatter in node /l (pid 2)"
SHORT = incompatibilities(QoS(reliability="best_effort"), QoS(durability="transient_local"))

EXAMPLES: list[tuple[Event, str, str]] = [
    (Matched(HERE, THERE), "info", f"{HERE_TEXT} matched with {THERE_TEXT}"),
    (Unmatched(HERE, THERE), "info", f"{HERE_TEXT} no longer matched with {THERE_TEXT}"),
    (
        IncompatibleQoS(HERE, THERE, SHORT),
        "warning",
        f"incompatible QoS, no match: {HERE_TEXT} and {THERE_TEXT}: "
        "reliability is offered as best_effort but requested as reliable; "
        "durability is offered as volatile but requested as transient_local",
    ),
    (
        TypeMismatch(HERE, THERE),
        "warning",
        f"type mismatch, no match: {HERE_TEXT} and {THERE_TEXT}: here bytes (abababab), there Image (cdcdcdcd)",
    ),
    (
        NoTransport(HERE, THERE, "zmq: it has no key"),
        "warning",
        f"no transport, no match: {HERE_TEXT} and {THERE_TEXT}: zmq: it has no key",
    ),
    (
        NotEncrypted(HERE, THERE, "dds", "zmq would be: it has no key"),
        "warning",
        f"not encrypted over dds: {HERE_TEXT} and {THERE_TEXT}: zmq would be: it has no key",
    ),
    (
        TransportChanged(HERE, THERE, "zmq", "dds", "unreachable: the connection was lost", 0.1234),
        "warning",
        f"transport changed from zmq to dds, 0.123 s without service: {HERE_TEXT} and {THERE_TEXT}: "
        "zmq: unreachable: the connection was lost",
    ),
    (
        SamplesLost(HERE, THERE, 1, "overwritten"),
        "warning",
        f"1 sample lost (overwritten before they were taken): {HERE_TEXT} and {THERE_TEXT}",
    ),
    (
        SamplesLost(HERE, THERE, 3, "held"),
        "warning",
        f"3 samples lost (not delivered because the subscription holds too many): {HERE_TEXT} and {THERE_TEXT}",
    ),
    (
        SamplesLost(THERE, HERE, 3, "expired"),
        "warning",
        f"3 samples lost (older than the lifespan): {THERE_TEXT} and {HERE_TEXT}",
    ),
    (DeadlineMissed(HERE, None, 4), "warning", f"deadline of 0.5 s missed (4 in all): {HERE_TEXT}"),
    (
        DeadlineMissed(THERE, PLAIN, 4),
        "warning",
        f"deadline missed (4 in all): {THERE_TEXT} waiting for {HERE_TEXT}",
    ),
    (LivelinessLost(HERE, None), "warning", f"liveliness lost, no sign of life for 2 s: {HERE_TEXT}"),
    (
        LivelinessLost(THERE, HERE),
        "warning",
        f"liveliness lost, no sign of life: {THERE_TEXT} waiting for {HERE_TEXT}",
    ),
    (
        PeerFaulted(2, "index 9 of 8", HERE, THERE),
        "warning",
        f"peer with pid 2 broke the rules and was disconnected: index 9 of 8 ({HERE_TEXT} and {THERE_TEXT})",
    ),
    (
        PeerFaulted(2, "index 9 of 8"),
        "warning",
        "peer with pid 2 broke the rules and was disconnected: index 9 of 8",
    ),
]


def _name(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, Event) else ""


@pytest.mark.parametrize(("event", "severity", "text"), EXAMPLES, ids=_name)
def test_severity_and_text(event: Event, severity: str, text: str) -> None:
    assert (event.severity, str(event)) == (severity, text)


def test_there_is_an_example_of_each_event() -> None:
    public = {getattr(events, name) for name in events.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Event)}
    assert kinds - {Event, EndpointEvent} == {type(event) for event, _, _ in EXAMPLES}


@pytest.mark.parametrize("event", [event for event, _, _ in EXAMPLES], ids=_name)
def test_events_are_frozen_and_compare_by_value(event: Event) -> None:
    assert replace(event) == event
    field = dataclasses.fields(event)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, None)


def test_the_topic_is_that_of_the_local_end(make_endpoint: Callable[..., EndpointInfo]) -> None:
    assert Matched(make_endpoint("publisher", topic="/a"), None).topic == "/a"
    assert PeerFaulted(2, "x", make_endpoint("publisher", topic="/a")).topic == "/a"
    assert PeerFaulted(2, "x").topic is None
