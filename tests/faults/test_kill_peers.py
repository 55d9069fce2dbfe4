"""Peers that are killed or stopped at a chosen moment, seen from the process that lives on."""

import asyncio
import os
import signal
import socket
import uuid
from pathlib import Path

import pytest

import lunar
from lunar import events

pytestmark = pytest.mark.faults

ALL = lunar.QoS(history="keep_all", depth=8)
PUBLISHER = """
node = lunar.Node("victim")
publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(history="keep_all", depth=8))
publisher.wait_for_subscribers_blocking(1, timeout_s=20)
"""
SUBSCRIBER = """
node = lunar.Node("victim")
subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all", depth=8))
subscription.wait_for_publishers_blocking(1, timeout_s=20)
"""


@pytest.fixture
def node():
    with lunar.Node("survivor") as node:
        yield node


async def test_what_a_publisher_published_before_it_was_killed_is_received(start, node):
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    victim = start(
        PUBLISHER
        + """
for size in (1, 1000, 100_000):  # each brings a segment of its own
    publisher.publish_nowait(b"x" * size)
say("published")
signal.pause()
"""
    )
    happened = []

    async def watch() -> None:
        async for event in node.events():
            happened.append(type(event))
            if isinstance(event, events.Unmatched):
                return

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)  # it listens from now on
    assert victim.hear() == "published"
    victim.kill()
    await asyncio.wait_for(watching, 20)
    assert happened[-2:] == [events.LivelinessLost, events.Unmatched]
    assert [len(await subscription.receive()) for _ in range(3)] == [1, 1000, 100_000]
    with pytest.raises(lunar.WouldBlock):
        subscription.receive_nowait()
    assert subscription.statistics().lost == 0


async def test_samples_that_are_held_stay_readable_after_their_publishers_death(start, node, until):
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    victim = start(
        PUBLISHER
        + """
for number in range(4):
    publisher.publish_nowait(bytes([number]) * 300_000)
signal.pause()
"""
    )
    held = [await subscription.receive() for _ in range(4)]
    part = held[3][100:200]
    victim.kill()
    until(lambda: subscription.publisher_count == 0, "the death is noticed")
    assert [bytes(message) == bytes([number]) * 300_000 for number, message in enumerate(held)] == [True] * 4
    del held
    assert bytes(part) == bytes([3]) * 100


async def test_a_message_that_was_being_filled_dies_with_its_publisher(start, node, until):
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    victim = start(
        PUBLISHER
        + """
publisher.publish_nowait(b"whole")
with publisher.loan(1000) as buffer:
    buffer[:4] = b"half"
    say("half")
    signal.pause()
"""
    )
    assert victim.hear() == "half"
    assert bytes(await subscription.receive()) == b"whole"
    victim.kill()
    until(lambda: subscription.publisher_count == 0, "the death is noticed")
    assert subscription.take(10) == []


def fill(publisher: lunar.Publisher[bytes]) -> int:
    accepted = 0
    while publisher.publish_many([b"x" * 100]):
        accepted += 1
    return accepted


@pytest.mark.parametrize("how", ["publish", "publish_all", "loan"])
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
async def test_a_publisher_that_waits_for_room_goes_on_when_who_has_none_dies(start, node, how, death):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    other = node.create_subscription(bytes, "topic", qos=ALL)
    victim = start(SUBSCRIBER + "say('there')\nsignal.pause()")
    assert victim.hear() == "there"
    await publisher.wait_for_subscribers(2, timeout_s=20)

    async def publish() -> None:
        if how == "publish":
            await publisher.publish(b"waited")
        elif how == "publish_all":
            await publisher.publish_all([b"waited"])
        else:
            async with publisher.loan(6) as buffer:
                buffer[:] = b"waited"

    assert fill(publisher) == 8
    taken: list[lunar.Sample[memoryview]] = []
    while len(taken) < 8:  # the memory for them may still be on its way
        taken += await other.receive_many(8)
    waiting = asyncio.ensure_future(publish())
    async with asyncio.timeout(20):
        while publisher.statistics().waits == 0:  # noqa: ASYNC110 - nobody announces that
            await asyncio.sleep(0)
    assert not waiting.done()
    victim.signal(death)
    await asyncio.wait_for(waiting, 20)
    assert bytes(await other.receive()) == b"waited"
    assert publisher.subscriber_count == 1


def test_a_thread_that_waits_for_room_goes_on_when_who_has_none_dies(start, node):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    victim = start(SUBSCRIBER + "say('there')\nheard()\nos.kill(os.getpid(), signal.SIGKILL)")
    assert victim.hear() == "there"
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    fill(publisher)
    victim.tell("now")
    publisher.publish_blocking(b"waited", timeout_s=20)
    assert publisher.subscriber_count == 0


def test_the_memory_that_a_dead_subscriber_held_is_used_again(start, monkeypatch, until):
    monkeypatch.setenv("LUNAR_POOL_BYTES", str(1 << 20))
    with lunar.Node("survivor") as node:
        publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(depth=100))
        for generation in range(3):
            victim = start(
                SUBSCRIBER
                + """
held = []
while len(held) < 8:
    held += subscription.receive_many_blocking(8, timeout_s=20)
say("held")
signal.pause()
"""
            )
            publisher.wait_for_subscribers_blocking(1, timeout_s=20)
            for _ in range(8):
                publisher.publish_nowait(bytes(100_000))
            assert victim.hear() == "held"
            with pytest.raises(lunar.ResourceExhausted, match="/victim"):
                publisher.publish_nowait(bytes(100_000))
            victim.kill()
            until(lambda: publisher.subscriber_count == 0, "the death is noticed")
            assert publisher.statistics().pool_bytes == 1 << 20, generation


# ---- stopped, not dead ----------------------------------------------------------------------------------------------


async def test_a_stopped_subscriber_costs_the_others_nothing_under_keep_last(start, node):
    publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(depth=4))
    awake = node.create_subscription(bytes, "topic", qos=lunar.QoS(depth=4))
    victim = start("""
        node = lunar.Node("victim")
        subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(depth=4))
        subscription.wait_for_publishers_blocking(1, timeout_s=20)
        say("there")
        heard()
        numbers = []
        while not numbers or numbers[-1] != 999:
            numbers += [int(bytes(sample.message)) for sample in subscription.receive_many_blocking(10, timeout_s=20)]
        say([numbers, subscription.statistics().lost])
    """)
    assert victim.hear() == "there"
    await publisher.wait_for_subscribers(2, timeout_s=20)
    victim.stop()
    for number in range(1000):
        await publisher.publish(b"%d" % number)
        assert int(bytes(await awake.receive())) == number
    assert awake.statistics().lost == 0
    (lost,) = [match.lost_overwritten for match in publisher.statistics().matches if match.node_name == "/victim"]
    assert lost == 996
    victim.signal(signal.SIGCONT)
    victim.tell("go")
    assert victim.hear() == [[996, 997, 998, 999], 996]


async def test_a_publisher_waits_for_a_stopped_subscriber_under_keep_all_and_says_for_whom(start, node):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    victim = start(
        SUBSCRIBER
        + """
say("there")
heard()
say([int(bytes(subscription.receive_blocking(timeout_s=20))) for _ in range(20)])
"""
    )
    assert victim.hear() == "there"
    victim.stop()
    publishing = asyncio.ensure_future(publisher.publish_all([b"%d" % number for number in range(20)]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(publishing), 0.1)
    (match,) = publisher.statistics().matches
    assert (match.node_name, match.queued, match.waits) == ("/victim", 8, 1)
    victim.signal(signal.SIGCONT)
    victim.tell("go")
    await asyncio.wait_for(publishing, 20)
    assert victim.hear() == list(range(20))


async def test_a_stopped_publisher_delays_nobody_and_is_heard_when_it_goes_on(start, node):
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    await publisher.wait_for_subscribers(1, timeout_s=20)
    victim = start(PUBLISHER + "say('there')\nheard()\npublisher.publish_nowait(b'late')\nheard()")
    assert victim.hear() == "there"
    victim.stop()
    for number in range(100):
        await publisher.publish(b"%d" % number)
        assert int(bytes(await subscription.receive())) == number
    victim.tell("go")
    victim.signal(signal.SIGCONT)
    assert bytes(await asyncio.wait_for(subscription.receive(), 20)) == b"late"


def test_what_a_publisher_published_before_it_ended_is_received_by_who_was_stopped(start):
    subscriber = start("""
        node = lunar.Node("stopped")
        qos = lunar.QoS(history="keep_all", depth=64)
        subscription = node.create_subscription(bytes, "topic", qos=qos)
        subscription.wait_for_publishers_blocking(2, timeout_s=20)
        say("there")
        heard()
        sizes = []
        while len(sizes) < 24:
            sizes += [len(sample.message) for sample in subscription.receive_many_blocking(64, timeout_s=20)]
        say([sizes, subscription.statistics().lost, subscription.publisher_count])
    """)
    publishers = [
        start(
            """
            with lunar.Node("ending") as node:
                qos = lunar.QoS(history="keep_all", depth=64)
                publisher = node.create_publisher(bytes, "topic", qos=qos)
                publisher.wait_for_subscribers_blocking(1, timeout_s=20)
                say("matched")
                heard()
                for power in range(12):
                    publisher.publish_nowait(bytes(100 << power))
                if sys.argv[1] == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
            """,
            end,
        )
        for end in ("killed", "closed")
    ]
    for publisher in publishers:
        assert publisher.hear() == "matched"
    assert subscriber.hear() == "there"
    subscriber.stop()
    for publisher in publishers:
        publisher.tell("go")
    assert [publisher.end()[0] for publisher in publishers] == [-9, 0]
    subscriber.signal(signal.SIGCONT)
    subscriber.tell("go")
    sizes, lost, _ = subscriber.hear()
    assert sorted(sizes) == sorted(2 * [100 << power for power in range(12)])
    assert lost == 0


def test_a_stopped_process_keeps_nobody_from_starting(start, until):
    stopped = start(SUBSCRIBER.replace("subscription.wait", "# ") + "say('there')\nheard()")
    assert stopped.hear() == "there"
    stopped.stop()
    with lunar.Node("first") as first, lunar.Node("second"):
        publisher = first.create_publisher(bytes, "topic", qos=ALL)
        subscription = first.create_subscription(bytes, "topic", qos=ALL)
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        publisher.publish_nowait(b"x")
        assert bytes(subscription.receive_blocking(timeout_s=20)) == b"x"
        snapshot = lunar.graph_snapshot(timeout_s=0.1)
        assert [node.name for node in snapshot.nodes] == ["first", "second"]
        assert len(snapshot.unreachable) == 1
        stopped.signal(signal.SIGCONT)
        publisher.wait_for_subscribers_blocking(2, timeout_s=20)
        assert lunar.graph_snapshot(timeout_s=20).unreachable == ()
        stopped.stop()
        stopped.kill()
        until(lambda: publisher.subscriber_count == 1, "its death is noticed although it was stopped")


def test_who_is_stopped_for_long_is_met_anew(start, until, caplog):
    """Of more news than we can keep for it none may be missing, or the two would disagree for ever."""
    victim = start("""
        node = lunar.Node("victim")
        subscription = node.create_subscription(bytes, "topic")
        subscription.wait_for_publishers_blocking(1, timeout_s=20)
        say("there")
        heard()
        subscription.wait_for_publishers_blocking(1, timeout_s=20)
        say([bytes(subscription.receive_blocking(timeout_s=20)).decode(), subscription.publisher_count])
        heard()
    """)
    with lunar.Node("survivor") as node:
        publisher = node.create_publisher(bytes, "topic")
        assert victim.hear() == "there"
        victim.stop()
        for _ in range(8000):
            node.create_publisher(bytes, "other").close()
        victim.signal(signal.SIGCONT)
        # It is hung up on, met anew, and matched again.
        until(lambda: lunar.graph_snapshot(timeout_s=20).unreachable == (), "they talk again")
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        publisher.publish_nowait(b"hello again")
        victim.tell("go")
        assert victim.hear() == ["hello again", 1]
    assert "it does not read what it is sent" in caplog.text


# ---- dead before they were met --------------------------------------------------------------------------------------


def socket_name(stamp_ns: int) -> str:
    return f"{stamp_ns:016x}-{uuid.uuid4().hex}.sock"


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("stamp_ns", [1, 1 << 62], ids=["earlier than us", "from a longer uptime"])
def test_the_socket_file_of_a_dead_process_is_removed(runtime_dir, until, stamp_ns, hidden):
    with lunar.Node("first"):
        pass  # makes the directory
    dead = runtime_dir / "0" / f"{'.' if hidden else ''}{socket_name(stamp_ns)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bound:
        bound.bind(str(dead))
    assert dead.exists()
    with lunar.Node("second"):
        until(lambda: not dead.exists(), "it is removed")


def test_a_hidden_socket_whose_process_lives_is_left_alone(runtime_dir):
    with lunar.Node("first"):
        alive = runtime_dir / "0" / f".{socket_name(1)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bound:
            bound.bind(str(alive))
            lunar.graph_snapshot()
            with lunar.Node("second", domain=0):
                lunar.graph_snapshot()
            assert alive.exists()
        os.unlink(alive)


def test_connections_that_end_before_they_have_greeted_leave_nothing(runtime_dir, no_leaks, until):
    with lunar.Node("survivor"):
        lunar.graph_snapshot()
        before = no_leaks()
        (path,) = (runtime_dir / "0").iterdir()
        for said in (None, b"", b"[", b"[]", b'[{"op":"hello"}]'):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.connect(str(path))
                if said is not None:
                    connection.send(said)
        until(lambda: no_leaks() == before, "everything of them is closed")


def test_a_killed_domain_is_as_good_as_new(start, runtime_dir):
    """Nobody lives to clean up: the next one does."""
    victims = [start("node = lunar.Node('victim')\nsay('there')\nsignal.pause()") for _ in range(3)]
    for victim in victims:
        assert victim.hear() == "there"
    for victim in victims:
        victim.stop()  # so that none of them notices the others' deaths
    for victim in victims:
        victim.kill()
    with lunar.Node("next"):
        assert lunar.graph_snapshot(timeout_s=20).unreachable == ()
        assert len(list(Path(runtime_dir, "0").iterdir())) == 1
