"""Two engines of the transport `zmq` in one process: what goes in comes out, over TCP, Unix sockets and CURVE."""

import os
import select
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from lunar_zmq import Transport
from lunar_zmq.keys import make_keys

from lunar.errors import ClosedError, ConfigError, PeerFault, TransportUnavailable
from tests.integration.zmq_ends import LISTENER, PLAIN, TALKER, Driver, Listener, Talker, pair, site, stream

MIB = 1 << 20


@pytest.fixture(params=["plain", "curve", "ipc"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, runtime_dir: Path) -> Mapping[str, object]:
    if request.param == "plain":
        return PLAIN
    if request.param == "ipc":
        return {"transport": "ipc", "directory": str(runtime_dir / "zmq")}
    make_keys(tmp_path / "keys")
    return {"keys": str(tmp_path / "keys")}


@pytest.mark.parametrize("reliable", [True, False])
def test_order_and_content(settings: Mapping[str, object], reliable: bool):
    with pair(reliable, settings) as both:
        payloads = [os.urandom(size % 200) for size in range(1000)]
        both.send_all(iter(payloads))
        both.arrived(1000)
        assert both.listener.numbers == list(range(1, 1001))
        assert both.listener.payloads == payloads
        both.driver.until(lambda: both.talker.end.unacknowledged == 0)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024 - 1, 64 * 1024, MIB, 64 * MIB])
def test_sizes(settings: Mapping[str, object], size: int):
    with pair(settings=settings) as both:
        payload = os.urandom(size)
        assert both.talker.send(memoryview(payload))
        both.arrived(1)
        assert both.listener.payloads == [payload]
        both.send_all(iter([b"after"]))
        both.arrived(2)


def test_a_full_subscriber_stops_its_publisher_and_loses_nothing():
    with pair() as both:
        both.listener.full = True
        while both.talker.send(bytes(1000)):
            pass
        taken = both.talker.sequence
        both.driver.pass_time(0.05)
        assert not both.talker.room
        assert both.listener.numbers == []
        both.listener.full = False
        both.listener.end.resume()
        both.driver.until(lambda: both.talker.room)
        both.arrived(taken)
        assert both.listener.numbers == list(range(1, taken + 1))


def test_a_resume_makes_the_descriptor_readable():
    with pair() as both:
        both.listener.full = True
        both.talker.send(b"held")
        both.driver.pass_time(0.1)
        both.listening.work()
        assert select.select([both.listening], [], [], 0)[0] == []
        both.listener.full = False
        both.listener.end.resume()
        assert select.select([both.listening], [], [], 0)[0] == [both.listening]
        both.listening.work()
        assert both.listener.numbers == [1]


def test_a_busy_socket_does_not_starve_another():
    """The listening process is flooded, and still its own stream to a third one goes on."""
    with pair() as both:
        flooded = both.listening
        third = Transport().open(site("d4" * 16))
        try:
            talker, listener = Talker(), Listener()
            talker.end = flooded.open_outgoing(stream("d4" * 16, third.address), talker)
            third.open_incoming(stream(LISTENER, flooded.address), listener)
            driver = Driver(both.talking, flooded, third)
            driver.until(lambda: talker.up and listener.running)
            for _ in range(20):
                while both.talker.send(bytes(70_000)):
                    pass
                before = len(listener.numbers)
                talker.send(b"x")
                driver.until(lambda before=before: len(listener.numbers) > before)  # type: ignore[misc]
        finally:
            third.close()


def test_a_full_subscriber_costs_a_best_effort_publisher_only_losses():
    with pair(reliable=False) as both:
        both.listener.full = True
        for _ in range(10_000):
            assert both.talker.send(b"reading")
        both.driver.pass_time(0.05)
        both.listener.full = False
        both.listener.end.resume()
        both.driver.until(lambda: both.talker.lost > 0)
        assert both.listener.lost_count == both.talker.lost
        assert len(both.listener.numbers) + both.listener.lost_count == 10_000


def test_one_alone_is_sent_at_once():
    """Without a turn of its engine in between: whoever waits for an answer does not wait for company."""
    with pair() as both:
        both.driver.pass_time(0.01)
        assert both.talker.send(b"now")
        Driver(both.listening).until(lambda: both.listener.numbers == [1])


def test_a_burst_needs_no_more_than_the_descriptor_to_go_out():
    with pair() as both:
        for _ in range(50):
            both.talker.send(b"x")
        both.arrived(50)


def test_closing_either_end_tells_the_other():
    with pair() as both:
        both.listener.end.close()
        both.listener.end.close()
        both.driver.until(lambda: not both.talker.up)
        assert both.talker.reasons == ["the subscriber's side closed the stream"]
    with pair() as both:
        both.talker.end.close()
        both.talker.end.close()
        both.driver.until(lambda: not both.listener.running)
        assert both.listener.reasons == ["the publisher's side closed the stream"]


def test_closing_an_engine_sends_what_was_taken():
    with pair() as both:
        both.send_all(iter([b"x"] * 100))
        both.talking.close()
        Driver(both.listening).until(lambda: not both.listener.running)
        assert both.listener.numbers == list(range(1, 101))


def test_closing_leaves_nothing_behind(no_leaks: Callable[[], list[str]], settings: Mapping[str, object]):
    with pair(settings=settings) as both:
        both.send_all(iter([bytes(100_000)] * 3))
        both.arrived(3)
    both.close()
    assert both.talking.work() is None
    with pytest.raises(ClosedError):
        both.talking.open_outgoing(stream(LISTENER, both.listening.address), Talker())
    if (sockets := settings.get("directory")) is not None:
        assert os.listdir(str(sockets)) == []


def test_a_forgotten_process_may_come_again():
    with pair() as both:
        both.talker.end.close()
        both.listener.end.close()
        both.talking.forget(LISTENER)
        both.listening.forget(TALKER)
        again = Talker()
        again.end = both.talking.open_outgoing(stream(LISTENER, both.listening.address), again)
        listener = Listener()
        listener.end = both.listening.open_incoming(stream(TALKER, both.talking.address), listener)
        both.driver.until(lambda: again.up and listener.running)


def test_an_idle_pair_sleeps():
    with pair() as both:
        both.driver.pass_time(0.1)
        turns = 0
        work = both.talking.work

        def counted() -> float | None:
            nonlocal turns
            turns += 1
            return work()

        both.talking.work = counted  # type: ignore[method-assign]
        both.driver.pass_time(1.0)
        # libzmq's own heartbeats do not wake; the signs of life do, once a second.
        assert turns < 20


# Keys


def two_keys(tmp_path: Path) -> tuple[Path, Path, list[str]]:
    one, other = tmp_path / "one", tmp_path / "other"
    return one, other, [make_keys(one), make_keys(other)]


def test_listed_keys_are_let_in(tmp_path: Path):
    one, other, (one_key, other_key) = two_keys(tmp_path)
    (one / "allowed" / "other.key").write_text(f"# the other\n{other_key}\n")
    talking = Transport().open(site(TALKER, {"keys": str(one)}))
    listening = Transport().open(site(LISTENER, {"keys": str(other), "allowed": [one_key]}))
    try:
        talker, listener = Talker(), Listener()
        talker.end = talking.open_outgoing(stream(LISTENER, listening.address), talker)
        listening.open_incoming(stream(TALKER, talking.address), listener)
        Driver(talking, listening).until(lambda: talker.up and listener.running)
    finally:
        talking.close()
        listening.close()


def test_a_key_that_is_not_listed_gets_nowhere(tmp_path: Path):
    one, other, (one_key, other_key) = two_keys(tmp_path)
    talking = Transport().open(site(TALKER, {"keys": str(one)}))
    listening = Transport().open(site(LISTENER, {"keys": str(other), "allowed": [one_key]}))
    try:
        with pytest.raises(PeerFault, match="not on the allow list"):
            talking.open_outgoing(stream(LISTENER, listening.address), Talker())
        listener = Listener()
        listening.open_incoming(stream(TALKER, talking.address), listener)
        driver = Driver(talking, listening)
        driver.pass_time(0.5)
        assert not listener.running
        # Put on the list while everything runs, it is let in.
        (one / "allowed" / "other.key").write_text(other_key)
        driver.pass_time(1.0)
        talker = Talker()
        talker.end = talking.open_outgoing(stream(LISTENER, listening.address), talker)
        driver.until(lambda: talker.up and listener.running)
    finally:
        talking.close()
        listening.close()


def test_one_that_encrypts_does_not_talk_to_one_that_does_not(tmp_path: Path):
    make_keys(tmp_path)
    with pair() as both:
        encrypted = Transport().open(site("d4" * 16, {"keys": str(tmp_path)}))
        try:
            with pytest.raises(PeerFault, match="curve"):
                encrypted.open_incoming(stream(TALKER, both.talking.address), Listener())
            with pytest.raises(PeerFault, match="curve"):
                both.talking.open_outgoing(stream("d4" * 16, encrypted.address), Talker())
        finally:
            encrypted.close()


# What cannot be opened


def test_without_a_key_it_says_what_to_do(tmp_path: Path, no_leaks: Callable[[], list[str]]):
    with pytest.raises(TransportUnavailable, match="lunar keys"):
        Transport().open(site(TALKER, {"keys": str(tmp_path / "none")}))


def test_an_address_of_another_host_cannot_be_used():
    elsewhere = site(TALKER)
    elsewhere = type(elsewhere)(TALKER, 0, ("192.0.2.1",), ("lo",), PLAIN)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        Transport().open(elsewhere)


def test_the_directory_of_the_sockets_is_private(runtime_dir: Path):
    with pair(settings={"transport": "ipc", "directory": str(runtime_dir / "zmq")}):
        assert stat.S_IMODE((runtime_dir / "zmq").stat().st_mode) == 0o700


def test_ipv6():
    six = site(TALKER)
    six = type(six)(TALKER, 0, ("::1",), ("lo",), PLAIN)
    try:
        engine = Transport().open(six)
    except ConfigError:
        pytest.skip("this host has no IPv6")
    engine.close()
