"""No more descriptors, or no more memory: the right error, and once there are some again, everything works."""

import os

import pytest

pytestmark = pytest.mark.faults

OTHER = """
node = lunar.Node("other")
subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all", depth=64))
async def main():
    say("there")
    async for message in subscription:
        pass
lunar.run(main())
"""


@pytest.mark.parametrize("others", [0, 1])
def test_whoever_runs_out_of_descriptors_is_told_and_loses_nothing(start, others, runtime_dir):
    for _ in range(others):
        assert start(OTHER).hear() == "there"
    limited = start("limited.py", "descriptors", "0", "40", "1", str(others))
    outcomes, failures = limited.hear(timeout_s=50)
    print(outcomes)
    assert failures == []
    assert {step.removesuffix(": ResourceExhausted") for step in outcomes if step.endswith("ResourceExhausted")} == {
        "node",
        "publish with nothing left",
        "receive with nothing left",
        "receive in a loop with nothing left",
    }
    assert outcomes["receive in a loop: done"] > 2
    assert not any("MemoryError" in step for step in outcomes)
    assert limited.end() == (0, "")
    assert len(list(runtime_dir.rglob("*.sock"))) == others


@pytest.mark.skipif("LUNAR_SANITIZED" in os.environ, reason="a sanitizer needs the address space for itself")
def test_whoever_runs_out_of_memory_is_told_and_loses_nothing(start, runtime_dir, rounds):
    limited = start("limited.py", "memory", "0", str(12 << 20), str(rounds(400, 50) << 10), "0")
    outcomes, failures = limited.hear(timeout_s=50)
    print(outcomes)
    assert failures == []
    assert limited.end() == (0, "")
    assert list(runtime_dir.rglob("*.sock")) == []


def test_a_newcomer_meets_whoever_had_no_descriptor_left_for_it(start, rounds):
    """Whether it could not be accepted, its link not be opened, or what it sent not be received."""
    limited = start("""
        import logging
        logging.disable()
        node = lunar.Node("limited")
        subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all"))
        say("there")
        while (line := heard()):
            leave_descriptors(int(line))
            say("limited")
            heard()
            lift_limit()
            say([bytes(subscription.receive_blocking(timeout_s=20)).decode() for _ in range(3)])
        node.close()
    """)
    assert limited.hear() == "there"
    newcomer = start("""
        while (line := heard()):
            with lunar.Node("newcomer") as node:
                publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(history="keep_all"))
                say(attempt(lambda: publisher.wait_for_subscribers_blocking(1, timeout_s=0.05)))
                publisher.wait_for_subscribers_blocking(1, timeout_s=20)
                for size in (1, 1000, 100_000):
                    publisher.publish_blocking(line.encode() * size, timeout_s=20)
                say("published")
                heard()
    """)
    outcomes = []
    for spare in range(0, 12, 12 // rounds(4, 12)):
        limited.tell(str(spare))
        assert limited.hear() == "limited"
        newcomer.tell(str(spare))
        outcomes.append(newcomer.hear())
        limited.tell("lift it")
        assert limited.hear() == [str(spare) * size for size in (1, 1000, 100_000)]
        assert newcomer.hear() == "published"
        newcomer.tell("go")
    assert outcomes[0].startswith("TimeoutError")
    assert outcomes[-1] == "None"


@pytest.mark.skipif("os.geteuid() != 0", reason="needs root, to become a user whom the limit of threads holds for")
def test_a_node_that_can_have_no_thread_is_refused_and_leaves_nothing(start, runtime_dir):
    os.chown(runtime_dir, 65534, 65534)
    program = start("""
        os.setgid(65534), os.setuid(65534)
        lunar.Node("first").close()
        before = len(os.listdir("/proc/self/fd"))
        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (1, most))
        say(attempt(lambda: lunar.Node("second")))
        gc.collect()
        say(len(os.listdir("/proc/self/fd")) - before)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        with lunar.Node("second"):
            say("works again")
    """)
    assert program.hear().startswith("ResourceExhausted: join a domain: can't start new thread")
    assert program.hear() == 0
    assert program.hear() == "works again"
    assert program.end() == (0, "")
    assert list(runtime_dir.rglob("*.sock")) == []
