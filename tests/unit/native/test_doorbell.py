"""Doorbells: rung by functions that a foreign library calls, here by their addresses."""

import ctypes
import select
import threading

import pytest

from lunar._native.control import Doorbell

pytestmark = pytest.mark.native

MatchedStatus = ctypes.c_uint64 * 3


class Status(ctypes.Structure):
    _fields_ = (("words", MatchedStatus),)


def ring_data(bell: Doorbell) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_void_p)(bell.on_data)(1, bell.argument)


def ring_match(bell: Doorbell) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_int32, Status, ctypes.c_void_p)(bell.on_match)(1, Status(), bell.argument)


def is_readable(bell: Doorbell) -> bool:
    return bool(select.select([bell.fd], [], [], 0)[0])


def test_a_ring_is_answered_once() -> None:
    bell = Doorbell()
    assert not is_readable(bell)
    assert bell.answer() == (False, False)
    for _ in range(3):
        ring_data(bell)
        ring_data(bell)
        assert is_readable(bell)
        bell.clear()
        assert not is_readable(bell)
        assert bell.answer() == (True, False)
        assert bell.answer() == (False, False)
    bell.close()
    bell.close()


def test_a_match_is_told_apart() -> None:
    bell = Doorbell()
    ring_match(bell)
    assert is_readable(bell)
    assert bell.answer() == (True, True)
    ring_data(bell)
    assert bell.answer() == (True, False)
    bell.close()


def test_bells_that_share_a_descriptor_are_answered_each_for_itself() -> None:
    first = Doorbell()
    second = Doorbell(first)
    ring_data(second)
    assert is_readable(first)
    first.clear()
    assert first.answer() == (False, False)
    assert second.answer() == (True, False)
    first.ring()
    assert is_readable(second)
    second.close()
    assert is_readable(first)
    first.close()


def test_no_ring_of_another_thread_is_missed() -> None:
    bell, rings = Doorbell(), 20_000
    done = threading.Event()

    def ring() -> None:
        for _ in range(rings):
            ring_data(bell)
        done.set()

    thread = threading.Thread(target=ring)
    thread.start()
    answered = 0
    while not done.is_set() or is_readable(bell):
        if select.select([bell.fd], [], [], 0.1)[0]:
            bell.clear()
            answered += bell.answer()[0]
    thread.join()
    assert 0 < answered <= rings
    assert bell.answer() == (False, False)
    bell.close()
