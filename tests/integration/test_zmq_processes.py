"""The transport `zmq` between processes: they exchange, die, and fork."""

import functools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lunar_zmq import Transport

from lunar.testing import Child
from tests.integration.zmq_ends import LISTENER, PLAIN, TALKER, Driver, Listener, Talker, site, stream

PROGRAM = Path(__file__).with_name("zmq_child.py")
ROOT = Path(__file__).parents[2]


def child(me: str, other: str) -> Child:
    return Child(PROGRAM, me, other, environment={"PYTHONPATH": str(ROOT)})


@contextmanager
def listening_here() -> Iterator[tuple[Child, Listener, Driver, Any]]:
    """A talker in a process of its own, and a listener in this one."""
    engine = Transport().open(site(LISTENER, PLAIN))
    try:
        with child(TALKER, LISTENER) as talker:
            address: Any = talker.call("address")
            talker.call("talk", address=dict(engine.address))
            listener = Listener()
            listener.end = engine.open_incoming(stream(TALKER, address), listener)
            driver = Driver(engine)
            driver.until(lambda: listener.running)
            yield talker, listener, driver, engine
    finally:
        engine.close()


def test_two_processes_exchange():
    with child(TALKER, LISTENER) as talker, child(LISTENER, TALKER) as listener:
        addresses = talker.call("address"), listener.call("address")
        listener.call("listen", address=addresses[0])
        talker.call("talk", address=addresses[1])
        assert talker.call("send", count=20_000, size=64) == 20_000
        assert listener.call("receive", count=20_000) == list(range(1, 20_001))
        assert talker.call("send", count=50, size=1 << 20) == 20_050
        talker.call("close")
        listener.call("close")


def test_a_publisher_that_is_killed_is_noticed():
    with listening_here() as (talker, listener, driver, _):
        talker.start("send", count=1_000_000, size=64)
        driver.until(lambda: len(listener.numbers) > 1000)
        talker.kill()
        driver.until(lambda: not listener.running, timeout_s=4)
        assert listener.reasons == ["the connection was lost"]
        assert listener.numbers == list(range(1, len(listener.numbers) + 1))


def test_a_publisher_that_hangs_is_noticed():
    with listening_here() as (talker, listener, driver, _):
        talker.stop()
        try:
            driver.until(lambda: not listener.running, timeout_s=6)
        finally:
            talker.resume()
        driver.until(lambda: listener.running)


def test_a_subscriber_that_is_killed_is_noticed_and_another_takes_its_place():
    engine = Transport().open(site(TALKER, PLAIN))
    try:
        for participant_id in (LISTENER, "d4" * 16):
            with child(participant_id, TALKER) as listener:
                address: Any = listener.call("address")
                listener.call("listen", address=dict(engine.address))
                talker = Talker()
                talker.end = engine.open_outgoing(stream(participant_id, address), talker)
                driver = Driver(engine)
                driver.until(functools.partial(getattr, talker, "up"))
                listener.kill()
                while talker.up and talker.send(b"into the void"):
                    pass
                driver.until(functools.partial(len, talker.reasons), timeout_s=4)
                talker.end.close()
                engine.forget(participant_id)
    finally:
        engine.close()


def test_a_forked_child_keeps_nothing_alive():
    with listening_here() as (talker, listener, driver, _):
        pid: Any = talker.call("fork")
        try:
            talker.start("send", count=10, size=64)
            driver.until(lambda: len(listener.numbers) == 10)
            driver.until(lambda: listener.end is not None)
            talker.kill()
            # Were a copy of the connection open still, only the missing heartbeats would tell, after 1.5 s more.
            driver.until(lambda: not listener.running, timeout_s=1.4)
        finally:
            os.kill(pid, signal.SIGKILL)
