"""Hosts with different versions of Lunar: those that do not understand each other say so, and go on with the others."""

import logging

import pytest

import lunar
from lunar import events, testing
from lunar.graph.network import presence
from tests.integration.memory_hosts import MemoryHosts


async def test_versions_that_do_not_understand_each_other_are_told_on_both_hosts(
    memory_hosts: MemoryHosts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, same = memory_hosts.node("a"), memory_hosts.node("b")
    async with testing.collect(old, events.PeerFaulted) as told:
        with monkeypatch.context() as newer:
            newer.setattr(presence, "FORMAT", 2)
            newer.setattr(presence, "__version__", "7.7")
            new = memory_hosts.node("c")
        publishers = [node.create_publisher(bytes, "chatter") for node in (old, new)]
        sub = same.create_subscription(bytes, "chatter")
        [event] = await told.wait_for()
    assert "it runs Lunar 7.7 on " in str(event)
    assert f"this process Lunar {lunar.__version__}, which reads format 1 only" in str(event)
    await sub.wait_for_publishers(timeout_s=5)
    await publishers[0].wait_for_subscribers(timeout_s=5)
    await publishers[0].publish(b"between those that agree")
    assert bytes(await sub.receive()) == b"between those that agree"
    assert (sub.publisher_count, publishers[1].subscriber_count) == (1, 0)
    lunar.graph_snapshot()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
