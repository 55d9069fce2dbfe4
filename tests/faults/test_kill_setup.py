"""A process is killed at a given step of its set-up or its end, before or after each: nobody else minds."""

import pytest

import lunar

pytestmark = pytest.mark.faults

# The steps of who comes last, on both sides of its links, in the order in which they happen.
STEPS = [
    "lunar.graph.rendezvous:Rendezvous._listen_once",
    "lunar.graph.rendezvous:Rendezvous.connect",
    "lunar.graph.link:Link.greet",
    "lunar.graph.link:Link.take_greeting",
    "lunar.graph.participant:Participant._introduce",
    "lunar.graph.participant:Participant._add_remote",
    "lunar.graph.matchmaker:Matchmaker._consider_subscription",
    "lunar_shm.publisher_end:ShmPublisherEnd.connect",
    "lunar.graph.matchmaker:Matchmaker.take_offer",
    "lunar_shm.publisher_end:ShmPublisherEnd.grow",
    "lunar_shm.publisher_end:ShmPublisherEnd._pass_segments",
    "lunar_shm.receiver_end:ShmReceiverEnd.receive",
    "lunar.graph.participant:Participant._remove_endpoint",
    "lunar_shm.publisher_end:ShmPublisherEnd.close",
    "lunar.graph.participant:Participant._leave",
    "lunar.graph.rendezvous:Rendezvous.close",
]

VICTIM = """
import functools, importlib, time
def doomed(path, nth, after):
    module, name = path.split(":")
    owner, attribute = name.split(".")
    owner = getattr(importlib.import_module(module), owner)
    original = getattr(owner, attribute)
    calls = 0
    @functools.wraps(original)
    def call(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, *args, **kwargs)
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, attribute, call)

doomed(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after")
qos = lunar.QoS(history="keep_all", depth=64, durability="transient_local")
with lunar.Node("victim") as node:
    publisher = node.create_publisher(bytes, "to_survivor", qos=qos)
    subscription = node.create_subscription(bytes, "to_victim", qos=qos)
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    for size in (10, 100_000):
        publisher.publish_blocking(b"v" * size, timeout_s=20)
    for _ in range(2):
        subscription.receive_blocking(timeout_s=20)
say("reached the end")
"""
ALL = lunar.QoS(history="keep_all", depth=64, durability="transient_local")


@pytest.fixture
def survivors():
    """Two nodes, with a publisher and a subscription each way between them and for the victims."""
    with lunar.Node("survivor") as node:
        publisher = node.create_publisher(bytes, "to_victim", qos=ALL)
        local = node.create_subscription(bytes, "to_victim", qos=ALL)
        subscription = node.create_subscription(bytes, "to_survivor", qos=lunar.QoS(history="keep_all", depth=64))
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        for size in (10, 100_000):
            publisher.publish_blocking(b"s" * size, timeout_s=20)
        while local.statistics().received < 2:
            local.receive_many_blocking(2, timeout_s=20)
        yield publisher, local, subscription


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=[step.split(":")[1] for step in STEPS])
def test_nobody_minds_who_dies_at(start, survivors, until, runtime_dir, step, when, rounds):
    publisher, local, subscription = survivors
    for nth in range(1, rounds(2, 6)):
        victim = start(VICTIM, step, str(nth), when)
        status, errors = victim.end()
        assert (status, errors) in [(-9, ""), (0, "")]
        until(lambda: publisher.subscriber_count == 1 and subscription.publisher_count == 0, "its end is noticed")
        publisher.publish_blocking(b"goes on", timeout_s=20)
        assert bytes(local.receive_blocking(timeout_s=20)) == b"goes on"
        for sample in subscription.take(100):
            assert bytes(sample.message) == b"v" * sample.size_bytes
        if status == 0:
            break  # it took fewer than so many of these steps
    # Whoever comes next is served, and finds nothing of the dead.
    healthy = start(VICTIM, STEPS[0], "1000", "after")
    assert healthy.hear() == "reached the end"
    assert healthy.end() == (0, "")
    assert sorted(len(subscription.receive_blocking(timeout_s=20)) for _ in range(2)) == [10, 100_000]
    until(lambda: len(list(runtime_dir.rglob("*.sock"))) == 1, "no socket of a dead process is left")
