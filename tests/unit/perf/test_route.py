"""What a measured process finds out about its match. Real nodes of this process."""

import pytest
from lunar_perf.meter import Meter
from lunar_perf.peer import NoMatch
from lunar_perf.route import matching, note_losses

import lunar


async def test_the_transport_and_the_reasons_are_those_of_the_match() -> None:
    meter = Meter()
    async with lunar.Node("both") as node:
        pub = node.create_publisher(bytes, "run/ping")
        sub = node.create_subscription(bytes, "run/ping", qos=lunar.QoS(depth=1))
        with matching(meter, "run/ping"):
            await pub.wait_for_subscribers(1, timeout_s=5)
        assert meter.transport == "shm"
        assert meter.reasons["shm"].startswith("chosen: ")
        for _ in range(3):
            await pub.publish(b"overwrites")
        await sub.receive()
        note_losses(meter, sub)
        assert meter.lost_by_cause == {"overwritten": 2, "held": 0, "expired": 0, "network": 0, "invalid": 0}


async def test_who_is_not_there_is_said_to_be_unseen() -> None:
    async with lunar.Node("alone") as node:
        pub = node.create_publisher(bytes, "run/ping")
        with (
            pytest.raises(NoMatch, match=r"0 of 1 subscriptions .* not seen at all.*lunar doctor"),
            matching(Meter(), "run/ping"),
        ):
            await pub.wait_for_subscribers(1, timeout_s=0.01)


async def test_whom_no_transport_serves_is_told_why() -> None:
    async with lunar.Node("both") as node:
        pub = node.create_publisher(bytes, "run/ping", qos=lunar.QoS(transport="zmq"))
        node.create_subscription(bytes, "run/ping", qos=lunar.QoS(transport="zmq"))
        with pytest.raises(NoMatch, match="shm: both ends ask for zmq"), matching(Meter(), "run/ping"):
            await pub.wait_for_subscribers(1, timeout_s=0.01)
