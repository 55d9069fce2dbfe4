"""Parcels, the outlet that makes them of what a publisher publishes, and relaying them to subscriptions."""

import time

import pytest

import lunar
from lunar._native._bus import Outlet, Parcel, Reader
from lunar.testing import isolated

pytestmark = pytest.mark.native


def test_a_parcel_is_what_it_was_made_of() -> None:
    parcel = Parcel(3, -5, dropped=1, payload=b"x")
    assert (parcel.sequence_number, parcel.source_time_ns, parcel.dropped, parcel.payload) == (3, -5, 1, b"x")
    assert repr(parcel) == "Parcel(sequence_number=3, source_time_ns=-5, dropped=1, payload=b'x')"
    for wrong in (("3", 0, 0, b""), (3, 0, 0), (3, 0, 0, b"", 1)):
        with pytest.raises(TypeError):
            Parcel(*wrong)
    with pytest.raises(AttributeError):
        parcel.dropped = 2


def test_an_outlet_numbers_dates_and_counts() -> None:
    with isolated(), lunar.Node("sender") as node:
        sub = node.create_subscription(bytes, "out", qos=lunar.QoS(depth=2))
        pub = node.create_publisher(bytes, "out")
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        pub.publish_nowait(b"first")
        sub.receive_blocking(5)  # from here on the memory is there
        outlet = Outlet(sub, 1)
        assert outlet.take() is None
        before_ns = time.time_ns()
        for number in range(5):
            pub.publish_nowait(b"%d" % number)
        first = outlet.take()
        second = outlet.take()
        assert outlet.take() is None
        assert first is not None
        assert second is not None
        assert [(each.sequence_number, each.dropped, bytes(each.payload)) for each in (first, second)] == [
            (5, 3, b"3"),
            (6, 3, b"4"),
        ]
        assert before_ns - 1_000_000 < first.source_time_ns <= second.source_time_ns < time.time_ns() + 1_000_000
        assert (outlet.last_sequence, outlet.dropped) == (6, 3)
        del first, second
        sub.close()
        with pytest.raises(lunar.ClosedError):
            outlet.take()


def test_an_outlet_is_of_a_reader() -> None:
    with pytest.raises(TypeError):
        Outlet(object(), 0)  # type: ignore[arg-type]
    assert Outlet(Reader(None, 0, lambda *_: None, lambda: None), 7).last_sequence == 7


def test_what_is_relayed_keeps_its_number_and_its_time() -> None:
    with isolated(), lunar.Node("relay") as node:
        pub = node.create_publisher(bytes, "in")
        sub = node.create_subscription(bytes, "in")
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        published_ns = time.time_ns() - 5_000_000
        assert pub._relay(Parcel(7, published_ns, 0, b"seven"))
        assert pub._relay(Parcel(7, published_ns, 0, b"again"))
        assert pub._relay(Parcel(3, published_ns, 0, b"late"))
        assert pub._relay(Parcel(9, -(10**18), 0, memoryview(b"nine")))
        taken = [sub.receive_many_blocking(1, 5)[0] for _ in range(2)]
        assert [(each.info.sequence_number, bytes(each.message)) for each in taken] == [(7, b"seven"), (9, b"nine")]
        assert abs(taken[0].info.source_time_ns - published_ns) < 1_000_000
        with pytest.raises(TypeError, match="Parcel"):
            pub._relay(b"x")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            pub._relay(Parcel(10, 0, 0, "text"))  # type: ignore[arg-type]
        assert pub._relay(Parcel(10, 0, 0, b"ten"))


def test_without_room_nothing_is_relayed() -> None:
    with isolated(), lunar.Node("relay") as node:
        qos = lunar.QoS(history="keep_all", depth=1)
        pub = node.create_publisher(bytes, "in", qos=qos)
        sub = node.create_subscription(bytes, "in", qos=qos)
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        assert pub._relay(Parcel(1, 0, 0, b"one"))
        assert not pub._relay(Parcel(2, 0, 0, b"two"))
        assert len(sub.receive_many_blocking(5, 5)) == 1
        assert pub._relay(Parcel(2, 0, 0, b"two"))
