"""What promises about time mean where the clocks of two hosts differ: they are counted on the clock of who waits."""

import asyncio
import time

import pytest

from lunar import QoS, abc, events, testing
from lunar.testing import memory
from tests.integration.memory_hosts import MemoryHosts

PERIOD_S = 0.2


@pytest.fixture(params=[-100.0, 100.0], ids=["behind", "ahead"])
def memory_hosts_apart(
    request: pytest.FixtureRequest, memory_hosts: MemoryHosts, monkeypatch: pytest.MonkeyPatch
) -> MemoryHosts:
    """The publisher's clock is so much behind, or ahead."""
    send, off_ns = memory._Outgoing.send, int(request.param * 1e9)

    def send_with_other_clock(self: memory._Outgoing, parcel: abc.Parcel) -> bool:
        told_ns = parcel.source_time_ns + off_ns
        return send(self, abc.Parcel(parcel.sequence_number, told_ns, parcel.dropped, parcel.payload))

    monkeypatch.setattr(memory._Outgoing, "send", send_with_other_clock)
    return memory_hosts


@pytest.mark.parametrize(
    ("qos", "broken"),
    [
        (QoS(deadline_s=PERIOD_S), events.DeadlineMissed),
        (QoS(liveliness="manual_by_topic", lease_s=PERIOD_S), events.LivelinessLost),
    ],
    ids=["deadline", "liveliness"],
)
async def test_a_promise_is_kept_while_messages_come_and_broken_when_they_do_not(
    memory_hosts_apart: MemoryHosts, qos: QoS, broken: type[events.EndpointEvent]
) -> None:
    here, there = memory_hosts_apart.node("a"), memory_hosts_apart.node("b")
    pub = here.create_publisher(bytes, "beat", qos=qos)
    sub = there.create_subscription(bytes, "beat", qos=qos)
    await pub.wait_for_subscribers(timeout_s=5)
    await sub.wait_for_publishers(timeout_s=5)
    async with testing.collect(there, broken) as told:
        end_s = time.monotonic() + 3 * PERIOD_S
        while time.monotonic() < end_s:
            await pub.publish(b"here I am")
            await sub.receive()
            await asyncio.sleep(PERIOD_S / 10)
        assert not told.events
        await told.wait_for(timeout_s=2)
