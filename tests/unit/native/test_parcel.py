"""Parcels, the outlet that makes them of what a publisher publishes, and the inlet that lays them into queues."""

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import lunar
from lunar._native._bus import INLET_DROPPED, INLET_FULL, INLET_NEWEST, Inlet, Outlet, Parcel, Reader, engine_api
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


def into(pub: lunar.Publisher[object], noted: Callable[[int], object] = int) -> Inlet:
    inlet = Inlet(noted)
    inlet.writer = pub
    inlet.is_open = True
    return inlet


def test_what_is_relayed_keeps_its_number_and_its_time() -> None:
    with isolated(), lunar.Node("relay") as node:
        pub = node.create_publisher(bytes, "in")
        sub = node.create_subscription(bytes, "in")
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        published_ns = time.time_ns() - 5_000_000
        inlet = into(pub)
        assert inlet.deliver(Parcel(7, published_ns, 0, b"seven"))
        assert inlet.deliver(Parcel(7, published_ns, 0, b"again"))
        assert inlet.deliver(Parcel(3, published_ns, 0, b"late"))
        assert inlet.deliver(Parcel(9, -(10**18), 0, memoryview(b"nine")))
        taken = [sub.receive_many_blocking(1, 5)[0] for _ in range(2)]
        assert [(each.info.sequence_number, bytes(each.message)) for each in taken] == [(7, b"seven"), (9, b"nine")]
        assert abs(taken[0].info.source_time_ns - published_ns) < 1_000_000
        with pytest.raises(TypeError, match="Parcel"):
            inlet.deliver(b"x")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            inlet.deliver(Parcel(10, 0, 0, "text"))  # type: ignore[arg-type]
        assert inlet.deliver(Parcel(10, 0, 0, b"ten"))


def test_without_room_nothing_is_relayed() -> None:
    with isolated(), lunar.Node("relay") as node:
        qos = lunar.QoS(history="keep_all", depth=1)
        pub = node.create_publisher(bytes, "in", qos=qos)
        sub = node.create_subscription(bytes, "in", qos=qos)
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        inlet = into(pub)
        assert inlet.deliver(Parcel(1, 0, 0, b"one"))
        assert not inlet.deliver(Parcel(2, 0, 0, b"two"))
        assert len(sub.receive_many_blocking(5, 5)) == 1
        assert inlet.deliver(Parcel(2, 0, 0, b"two"))


def test_its_owner_is_told_of_what_an_inlet_met() -> None:
    with relaying(depth=1) as (pub, sub):
        noted: list[int] = []
        inlet = into(pub, noted.append)
        inlet.newest = 2
        assert inlet.deliver(Parcel(1, 0, 0, b"one"))
        assert noted == []
        assert not inlet.deliver(Parcel(2, 0, 0, b"two"))
        assert noted == [INLET_FULL]
        assert len(sub.receive_many_blocking(5, 5)) == 1
        assert inlet.deliver(Parcel(2, 0, 0, b"two"))
        assert noted == [INLET_FULL, INLET_NEWEST]
        assert len(sub.receive_many_blocking(5, 5)) == 1
        assert inlet.deliver(Parcel(5, 0, 2, b"five"))
        assert noted == [INLET_FULL, INLET_NEWEST, INLET_DROPPED]
        assert inlet.dropped == 2


def test_the_newest_is_noted_though_it_was_none_itself() -> None:
    with relaying() as (pub, _):
        noted: list[int] = []
        inlet = into(pub, noted.append)
        inlet.newest = 2
        inlet.check = lambda payload: bytes(payload) != b"bad"
        assert inlet.deliver(Parcel(1, 0, 0, b"one"))
        assert inlet.deliver(Parcel(2, 0, 0, b"bad"))
        assert noted == []
        assert inlet.deliver(Parcel(3, 0, 0, b"three"))
        assert noted == [INLET_NEWEST]
        assert inlet.deliver(Parcel(4, 0, 0, b"four"))
        assert noted == [INLET_NEWEST]


def test_a_shut_inlet_takes_nothing_and_one_with_a_check_what_passes() -> None:
    with relaying() as (pub, sub):
        inlet = Inlet(int)
        inlet.is_open = True
        assert not inlet.deliver(Parcel(1, 0, 0, b"one"))
        inlet = into(pub)
        inlet.is_open = False
        assert not inlet.deliver(Parcel(1, 0, 0, b"one"))
        inlet.is_open = True
        inlet.check = lambda payload: bytes(payload) != b"bad"
        assert inlet.deliver(Parcel(1, 0, 0, b"bad"))
        assert inlet.deliver(Parcel(2, 0, 0, b"good"))
        assert bytes(sub.receive_blocking(5)) == b"good"

        def fail(_payload: memoryview) -> bool:
            raise ValueError("it cannot be checked")

        inlet.check = fail
        with pytest.raises(ValueError, match="cannot be checked"):
            inlet.deliver(Parcel(3, 0, 0, b"bad"))
        with pytest.raises(TypeError, match="Writer"):
            inlet.writer = sub  # type: ignore[assignment]


@contextmanager
def relaying(depth: int = 10) -> Iterator[tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]]:
    with isolated(), lunar.Node("relay") as node:
        qos = lunar.QoS(history="keep_all", depth=depth)
        pub = node.create_publisher(bytes, "in", qos=qos)
        sub = node.create_subscription(bytes, "in", qos=qos)
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        yield pub, sub


class View(ctypes.Structure):
    """`lunar_sample_view`."""

    _fields_ = (
        ("bytes", ctypes.c_void_p),
        ("size_bytes", ctypes.c_size_t),
        ("sequence", ctypes.c_uint64),
        ("dropped", ctypes.c_uint64),
        ("source_time_ns", ctypes.c_int64),
    )


class Api(ctypes.Structure):
    """`lunar_bus_api`."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        (
            "take",
            ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(View), ctypes.POINTER(ctypes.c_void_p)),
        ),
        ("deliver", ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(View))),
        (
            "begin",
            ctypes.PYFUNCTYPE(
                ctypes.c_void_p,
                ctypes.py_object,
                ctypes.c_size_t,
                ctypes.POINTER(ctypes.c_void_p),
                ctypes.POINTER(ctypes.c_bool),
            ),
        ),
        ("commit", ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p, ctypes.POINTER(View))),
        ("abandon", ctypes.PYFUNCTYPE(None, ctypes.c_void_p)),
    )


@pytest.fixture
def api() -> Api:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
    api = Api.from_address(pointer(engine_api, b"lunar._native._bus.engine_api"))
    assert api.version == 1
    return api


def begin(api: Api, inlet: Inlet, content: bytes) -> tuple[ctypes.c_void_p, View]:
    """Has memory given for a sample, and writes it."""
    memory, failed = ctypes.c_void_p(), ctypes.c_bool()
    address = api.begin(inlet, len(content), memory, failed)
    assert address
    assert not failed.value
    ctypes.memmove(address, content, len(content))
    return memory, View(size_bytes=len(content))


def test_an_engine_in_c_takes_views(api: Api) -> None:
    with relaying() as (pub, sub):
        pub.publish_nowait(b"first")
        sub.receive_blocking(5)  # from here on the memory is there
        outlet = Outlet(sub, 1)
        view, keeps = View(), ctypes.c_void_p()
        assert api.take(outlet, view, keeps) == 0
        before_ns = time.time_ns()
        pub.publish_nowait(b"seen")
        assert api.take(outlet, view, keeps) == 1
        assert ctypes.string_at(view.bytes, view.size_bytes) == b"seen"
        assert (view.sequence, view.dropped) == (2, 0)
        assert before_ns - 1_000_000 < view.source_time_ns < time.time_ns() + 1_000_000
        ctypes.pythonapi.Py_DecRef(keeps)
        with pytest.raises(TypeError, match="Outlet"):
            api.take(Inlet(int), view, keeps)


def test_an_engine_in_c_puts_samples_together_where_they_stay(api: Api) -> None:
    with relaying(depth=1) as (pub, sub):
        inlet = into(pub)
        memory, view = begin(api, inlet, b"whole" * 1000)
        view.sequence, view.source_time_ns = 3, time.time_ns()
        assert api.commit(inlet, memory, view) == 1
        second, view = begin(api, inlet, b"later")
        view.sequence = 4
        assert api.commit(inlet, second, view) == 0
        (sample,) = sub.receive_many_blocking(1, 5)
        assert sample.info.sequence_number == 3
        assert bytes(sample.message) == b"whole" * 1000
        assert api.commit(inlet, second, view) == 1
        assert bytes(sub.receive_blocking(5)) == b"later"


def test_memory_that_is_let_go_of_is_free_again(api: Api) -> None:
    with relaying() as (pub, sub):
        inlet = into(pub)
        memory, _ = begin(api, inlet, b"x" * 100_000)
        api.abandon(memory)
        held = pub._pool_bytes
        for number in range(1, 101):
            memory, view = begin(api, inlet, b"y" * 100_000)
            view.sequence = number // 2  # each second one came before, or is none
            assert api.commit(inlet, memory, view) == 1
            if number % 2 == 0:
                assert len(sub.receive_blocking(5)) == 100_000
        assert pub._pool_bytes <= 2 * held


def test_memory_outlives_the_queue_that_it_was_meant_for(api: Api) -> None:
    with relaying() as (pub, _):
        inlet = into(pub)
        memory, view = begin(api, inlet, b"moved")
        with relaying() as (other, its):
            pub.close()
            inlet.writer = other
            view.sequence = 1
            assert api.commit(inlet, memory, view) == 1
            assert bytes(its.receive_blocking(5)) == b"moved"
        assert not api.begin(inlet, 5, ctypes.c_void_p(), ctypes.c_bool())


def test_what_is_too_large_is_said(api: Api) -> None:
    with relaying() as (pub, _):
        failed = ctypes.c_bool()
        with pytest.raises(lunar.ResourceExhausted):
            api.begin(into(pub), 1 << 40, ctypes.c_void_p(), failed)
        assert failed.value
