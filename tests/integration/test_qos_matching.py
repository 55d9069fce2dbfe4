"""Who matches whom: requested against offered, and types; a mismatch is loud on both sides, naming both ends."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

import pytest

import lunar
import lunar.node
from lunar import events
from lunar.messages import RawBytes
from lunar.testing import Child, collect, numbered, read_number

StartChild = Callable[..., Child]

# What a mismatch promises: both sides know within a second.
WITHIN_S = 1.0

INCOMPATIBLE = {
    "reliability": ({"reliability": "best_effort"}, {"reliability": "reliable"}),
    "durability": ({"durability": "volatile"}, {"durability": "transient_local"}),
    "deadline_s": ({}, {"deadline_s": 1.0}),
    "liveliness": ({"lease_s": 1.0}, {"liveliness": "manual_by_topic", "lease_s": 1.0}),
    "lease_s": ({"lease_s": 2.0}, {"lease_s": 1.0}),
}
COMPATIBLE = {
    "reliable for best effort": ({"reliability": "reliable"}, {"reliability": "best_effort"}),
    "transient for volatile": ({"durability": "transient_local"}, {"durability": "volatile"}),
    "shorter deadline": ({"deadline_s": 1.0}, {"deadline_s": 2.0}),
    "manual for automatic": ({"liveliness": "manual_by_topic", "lease_s": 1.0}, {"lease_s": 1.0}),
    "other history": ({"history": "keep_all"}, {"history": "keep_last", "depth": 1}),
    "other resources": ({"resources": "greedy", "priority": 7}, {"resources": "frugal"}),
}


class Numbers:
    """A type of the tests' own: whole numbers, 8 bytes each."""

    name = "tests.Numbers"
    hash = "12" * 16

    described = None
    plan = None

    def encoder(self) -> Callable[[int], bytes]:
        return lambda value: value.to_bytes(8, "little")

    def decoder(self, *, verify: bool) -> Callable[[memoryview], int]:
        return lambda view: int.from_bytes(view, "little")


@pytest.fixture
def second_type(monkeypatch: pytest.MonkeyPatch) -> type:
    """A second message type, which `int` stands for in this test."""
    monkeypatch.setattr(lunar.node, "message_type", lambda kind: Numbers() if kind is int else RawBytes())
    return int


@pytest.mark.parametrize("policy", INCOMPATIBLE)
async def test_incompatible_profiles_are_an_event_on_both_sides(
    node: lunar.Node, start_child: StartChild, policy: str
) -> None:
    offered, requested = INCOMPATIBLE[policy]
    child = start_child("other")
    child.call("subscription", topic="chatter", qos=requested)
    async with collect(node, events.IncompatibleQoS, events.Matched) as seen:
        publisher = node.create_publisher(bytes, "chatter", qos=lunar.QoS.from_dict(offered))
        (event,) = await seen.wait_for(1, timeout_s=WITHIN_S)
    assert isinstance(event, events.IncompatibleQoS)
    assert event.remote is not None
    assert (event.local.id, event.remote.node_name, event.remote.pid) == (publisher.id, "/other", child.pid)
    assert [found.policy for found in event.incompatibilities] == [policy]
    text = str(event)
    assert "publisher of /chatter in node /tested" in text
    assert f"subscription of /chatter in node /other (pid {child.pid})" in text
    assert f"{policy} is offered as" in text
    (there,) = cast("list[str]", child.call("wait_for_events", kind="IncompatibleQoS", within_s=WITHIN_S))
    assert "publisher of /chatter in node /tested" in there
    assert "subscription of /chatter in node /other" in there
    assert f"{policy} is offered as" in there
    assert publisher.subscriber_count == 0


@pytest.mark.parametrize("pair", COMPATIBLE)
async def test_an_offer_that_is_stronger_than_the_request_matches(
    node: lunar.Node, start_child: StartChild, pair: str
) -> None:
    offered, requested = COMPATIBLE[pair]
    child = start_child("other")
    child.call("publisher", topic="chatter", qos=offered)
    subscription = node.create_subscription(bytes, "chatter", qos=lunar.QoS.from_dict(requested))
    await subscription.wait_for_publishers(1, timeout_s=5)
    child.call("wait_for_subscribers", topic="chatter")
    child.call("publish", topic="chatter", first=7, count=1)
    assert read_number(await subscription.receive()) == 7


async def test_nothing_crosses_between_incompatible_ends_and_the_others_are_served(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="best_effort"))
    async with collect(node, events.IncompatibleQoS) as seen:
        demanding = node.create_subscription(bytes, "chatter")
        modest = node.create_subscription(bytes, "chatter", qos=lunar.qos.SENSOR_DATA)
        await publisher.wait_for_subscribers(1, timeout_s=5)
        await seen.wait_for(2)
    publisher.publish_nowait(numbered(1))
    assert read_number(await modest.receive()) == 1
    assert demanding.take(1) == []
    assert (demanding.publisher_count, modest.publisher_count) == (0, 1)


async def test_a_mismatch_is_logged_as_a_warning_on_both_sides_when_nobody_listens(
    node: lunar.Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lunar"):
        node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="best_effort"))
        node.create_subscription(bytes, "chatter")
        async with asyncio.timeout(WITHIN_S):
            while len(caplog.records) < 2:
                await asyncio.to_thread(lunar.graph_snapshot)
    records = [record for record in caplog.records if record.name == "lunar"]
    assert [record.levelname for record in records] == ["WARNING", "WARNING"]
    for record in records:
        assert "publisher of /chatter in node /tested" in record.message
        assert "subscription of /chatter in node /tested" in record.message
        assert "reliability is offered as best_effort but requested as reliable" in record.message


async def test_other_types_on_one_topic_are_an_event_on_both_sides(
    node: lunar.Node, start_child: StartChild, second_type: type
) -> None:
    child = start_child("other")
    child.call("subscription", topic="chatter", qos={})
    async with collect(node, events.TypeMismatch, events.Matched) as seen:
        publisher = node.create_publisher(second_type, "chatter")
        (event,) = await seen.wait_for(1, timeout_s=WITHIN_S)
    assert isinstance(event, events.TypeMismatch)
    assert event.remote is not None
    assert (event.local.id, event.remote.node_name) == (publisher.id, "/other")
    assert "publisher of /chatter in node /tested" in str(event)
    assert "here tests.Numbers (12121212), there bytes (" in str(event)
    (there,) = cast("list[str]", child.call("wait_for_events", kind="TypeMismatch", within_s=WITHIN_S))
    assert "publisher of /chatter in node /tested" in there
    assert "subscription of /chatter in node /other" in there
    assert "there tests.Numbers (12121212)" in there


async def test_ends_of_a_second_type_meet_and_its_messages_are_encoded_and_decoded(
    node: lunar.Node, second_type: type
) -> None:
    publisher = node.create_publisher(second_type, "chatter")
    subscription = node.create_subscription(second_type, "chatter")
    raw = node.create_subscription(bytes, "chatter")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish(7)
    publisher.publish_many([8, 9])
    received: list[object] = [await subscription.receive(), subscription.receive_blocking()]
    (sample,) = await subscription.receive_many(1)
    assert [*received, sample.message] == [7, 8, 9]
    assert raw.publisher_count == 0
    with pytest.raises(AttributeError):
        publisher.publish_nowait("no number")
    assert publisher.statistics().published == 3


async def test_a_mismatch_is_told_to_later_comers_as_well(node: lunar.Node, start_child: StartChild) -> None:
    node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="best_effort"))
    for index in range(2):
        child = start_child(f"other_{index}")
        child.call("subscription", topic="chatter", qos={})
        assert len(cast("list[str]", child.call("wait_for_events", kind="IncompatibleQoS"))) == 1


async def test_resources_say_how_long_a_waiter_spins(node: lunar.Node) -> None:
    # Observed through the messages alone: whatever the profile, they arrive.
    for resources in ("frugal", "balanced", "greedy"):
        qos = lunar.QoS.from_dict({"resources": resources})
        publisher = node.create_publisher(bytes, resources, qos=qos)
        subscription = node.create_subscription(bytes, resources, qos=qos)
        await publisher.wait_for_subscribers(1, timeout_s=5)
        waiting = asyncio.create_task(subscription.receive())
        await asyncio.sleep(0)
        publisher.publish_nowait(numbered(1))
        assert read_number(await waiting) == 1
