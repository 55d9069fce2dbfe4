"""Forks: after the import, with an open node, by multiprocessing, and children that run another program."""

import os

import pytest

pytestmark = pytest.mark.faults


def test_a_fork_after_the_import_leaves_both_sides_whole(start):
    program = start("""
        def talk(name):
            with lunar.Node(name) as node:
                publisher = node.create_publisher(bytes, name)
                subscription = node.create_subscription(bytes, name)
                publisher.wait_for_subscribers_blocking(1, timeout_s=10)
                publisher.publish_nowait(name.encode())
                return bytes(subscription.receive_blocking(timeout_s=10)).decode()
        child = os.fork()
        said = talk("child" if child == 0 else "parent")
        say(said)
        if child:
            os.waitpid(child, 0)
    """)
    assert sorted([program.hear(), program.hear()]) == ["child", "parent"]
    assert program.end() == (0, "")


WITH_OPEN_NODE = """
    qos = lunar.QoS(history="keep_all", depth=8)
    before = set(os.listdir("/proc/self/fd"))
    node = lunar.Node("forking")
    publisher = node.create_publisher(bytes, "topic", qos=qos)
    subscription = node.create_subscription(bytes, "topic", qos=qos)
    publisher.wait_for_subscribers_blocking(1, timeout_s=10)
    subscription.wait_for_publishers_blocking(1, timeout_s=10)
    publisher.publish_nowait(b"first")  # its memory is there from now on
    subscription.receive_blocking(timeout_s=10)
"""


def test_a_forked_child_is_told_that_its_node_was_made_before_the_fork(start):
    program = start(
        WITH_OPEN_NODE
        + """
    publisher.publish_nowait(b"before")
    async def use(operation):
        return await operation()
    async def iterate():
        async for message in subscription:
            return message
    async def loan():
        async with publisher.loan(8):
            return "a loan"
    if os.fork() == 0:
        blocking = {
            "publish_nowait": lambda: publisher.publish_nowait(b"x"),
            "publish_many": lambda: publisher.publish_many([b"x"]),
            "publish_blocking": lambda: publisher.publish_blocking(b"x", timeout_s=5),
            "loan": lambda: publisher.loan(8).__enter__(),
            "assert_liveliness": lambda: publisher.assert_liveliness(),
            "receive_nowait": lambda: subscription.receive_nowait(),
            "receive_blocking": lambda: subscription.receive_blocking(timeout_s=5),
            "receive_many_blocking": lambda: subscription.receive_many_blocking(1, timeout_s=5),
            "take": lambda: subscription.take(1),
            "create_publisher": lambda: node.create_publisher(bytes, "other"),
            "create_subscription": lambda: node.create_subscription(bytes, "other"),
        }
        coroutines = {
            "publish": lambda: publisher.publish(b"x"),
            "publish_all": lambda: publisher.publish_all([b"x"]),
            "async loan": loan,
            "receive": lambda: subscription.receive(),
            "receive_many": lambda: subscription.receive_many(1),
            "iterate": iterate,
        }
        said = {name: attempt(function) for name, function in blocking.items()}
        for loop in ("lunar", "asyncio"):
            for name, function in coroutines.items():
                said[f"{name} in {loop}"] = attempt(lambda: lunar.run(use(function), loop=loop))
        publisher.close(), subscription.close(), node.close(), node.close()
        say(said)
        os._exit(0)
    os.wait()
    say([bytes(subscription.receive_nowait()).decode(), subscription.take(10)])
    node.close()
    """
    )
    said = program.hear()
    assert isinstance(said, dict)
    assert len(said) == 23
    for what, error in said.items():
        assert error.startswith("LunarError: this "), what
        assert "was made before a fork; make nodes in the process that uses them" in error, what
    assert program.hear() == ["before", []]
    assert program.end() == (0, "")


def test_what_a_forked_child_drops_stays_with_its_parent(start):
    program = start(
        WITH_OPEN_NODE
        + """
    for number in range(8):
        publisher.publish_nowait(b"%d" % number)
    held = subscription.take(4)
    view = subscription.receive_nowait()
    loan = publisher.loan(8)
    child = os.fork()
    if child == 0:
        read = [bytes(sample.message).decode() for sample in held] + [bytes(view).decode()]
        del held, view, loan
        publisher = subscription = node = None
        gc.collect()
        say(read)
        os._exit(0)
    os.wait()
    match, = publisher.statistics().matches
    say([match.queued, match.held])
    for number in range(8, 13):
        publisher.publish_nowait(b"%d" % number)
    say([bytes(sample.message).decode() for sample in held + subscription.take(100)])
    del held, view
    match, = publisher.statistics().matches
    say([match.queued, match.held])
    node.close()
    """
    )
    assert program.hear() == ["0", "1", "2", "3", "4"]
    assert program.hear() == [3, 5]
    assert program.hear() == ["0", "1", "2", "3", "5", "6", "7", "8", "9", "10", "11", "12"]
    assert program.hear() == [0, 0]
    assert program.end() == (0, "")


def test_a_callback_that_forks_gets_no_messages_of_its_parent(start):
    program = start(
        WITH_OPEN_NODE
        + """
    got = []
    async def main():
        done = asyncio.Event()
        def callback(message):
            got.append(bytes(message).decode())
            if len(got) == 1 and os.fork() == 0:
                got.append("child")
            elif len(got) == 4:
                done.set()
        other = node.create_subscription(bytes, "called", callback, qos=qos)
        sender = node.create_publisher(bytes, "called", qos=qos)
        await sender.wait_for_subscribers(1, timeout_s=10)
        sender.publish_many([b"0", b"1", b"2", b"3"])
        delivery = other._delivery
        if await asyncio.wait([asyncio.ensure_future(done.wait()), delivery], return_when="FIRST_COMPLETED"):
            if got[1] == "child":
                say([got, attempt(delivery.result)])
                os._exit(0)
        say(got)
        os.wait()
    lunar.run(main())
    node.close()
    """
    )
    said = [program.hear(), program.hear()]
    assert ["0", "1", "2", "3"] in said
    said.remove(["0", "1", "2", "3"])
    got, error = said[0]
    assert got == ["0", "child"]
    assert "made before a fork" in error
    assert program.end()[0] == 0


def test_a_forked_child_keeps_no_descriptor_of_the_node(start):
    program = start(
        WITH_OPEN_NODE
        + """
    publisher.publish_nowait(bytes(1000))
    kept = subscription.receive_blocking(timeout_s=10)
    attempt(lambda: subscription.receive_blocking(timeout_s=0.001))  # this thread's waiter is there, too
    async def use_a_loop():
        asyncio.get_running_loop().call_soon(publisher.publish_nowait, bytes(100_000))
        return await subscription.receive()
    loop = lunar.new_event_loop()
    loop.run_until_complete(use_a_loop())
    before |= {str(loop._selector.fileno()), str(loop._ssock.fileno()), str(loop._csock.fileno())}
    if os.fork() == 0:
        def target(name):
            try:
                return os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                return None
        say([target(name) for name in os.listdir("/proc/self/fd") if name not in before and target(name)])
        os._exit(0)
    os.wait()
    loop.close()
    node.close()
    """
    )
    assert program.hear() == []
    assert program.end() == (0, "")


def test_the_death_of_a_parent_is_noticed_while_its_child_lives(start):
    listener = start("""
        node = lunar.Node("listener")
        subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all"))
        async def main():
            say("there")
            async for event in node.events():
                say(type(event).__name__)
                if isinstance(event, lunar.events.Unmatched):
                    return
        lunar.run(main())
        say([bytes(sample.message).decode() for sample in subscription.take(10)])
        node.close()
    """)
    assert listener.hear() == "there"
    parent = start("""
        node = lunar.Node("parent")
        publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(history="keep_all"))
        publisher.wait_for_subscribers_blocking(1, timeout_s=10)
        publisher.publish_nowait(b"last words")
        child = os.fork()
        if child == 0:
            signal.pause()
        say(child)
        signal.pause()
    """)
    assert listener.hear() == "Matched"
    child = parent.hear()
    assert isinstance(child, int)
    try:
        parent.kill()
        assert [listener.hear(), listener.hear()] == ["LivelinessLost", "Unmatched"]
        assert listener.hear() == ["last words"]
        os.kill(child, 0)  # it lives
    finally:
        os.kill(child, 9)
    assert listener.end() == (0, "")


def test_a_parent_that_forks_under_load_goes_on_without_loss(start, rounds):
    """Its children end in every way there is, with everything they inherited."""
    listener = start("""
        node = lunar.Node("listener")
        qos = lunar.QoS(history="keep_all", depth=16)
        subscription = node.create_subscription(bytes, "there", qos=qos)
        publisher = node.create_publisher(bytes, "back", qos=qos)
        async def main():
            expected = 0
            async for message in subscription:
                if not len(message):
                    break
                assert int(bytes(message[:8])) == expected, (bytes(message[:8]), expected)
                expected += 1
                await publisher.publish(message)
            say(expected)
            heard()
        lunar.run(main())
        node.close()
    """)
    parent = start(
        """
        node = lunar.Node("parent")
        qos = lunar.QoS(history="keep_all", depth=16)
        publisher = node.create_publisher(bytes, "there", qos=qos)
        subscription = node.create_subscription(bytes, "back", qos=qos)
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        subscription.wait_for_publishers_blocking(1, timeout_s=20)
        counts, held = [0, 0], []
        ending = threading.Event()
        def talk():
            while not ending.is_set():
                publisher.publish_blocking(b"%08d" % counts[0] + bytes(counts[0] % 1000), timeout_s=20)
                counts[0] += 1
            publisher.publish_blocking(b"%08d" % counts[0] + b"the last", timeout_s=20)
            counts[0] += 1
        def listen():
            last = False
            while not last:
                for sample in subscription.receive_many_blocking(4, timeout_s=20):
                    assert int(bytes(sample.message[:8])) == counts[1]
                    counts[1] += 1
                    held.append(sample)
                    last = bytes(sample.message[8:]) == b"the last"
                del held[:-20], sample
        threads = [threading.Thread(target=talk), threading.Thread(target=listen)]
        [thread.start() for thread in threads]
        statuses = set()
        for number in range(int(sys.argv[1])):
            seen = counts[1]
            while counts[1] < seen + 20:
                os.sched_yield()
            child = os.fork()
            if child == 0:
                match number % 4:
                    case 0:
                        os._exit(0)
                    case 1:
                        held.clear()
                        gc.collect()
                        sys.exit(0)
                    case 2:
                        publisher.close(), subscription.close(), node.close()
                        with lunar.Node("child"):
                            sys.exit(0)
                    case 3:
                        os.execv("/bin/true", ["true"])
            statuses.add(os.waitpid(child, 0)[1])
        ending.set()
        [thread.join() for thread in threads]
        publisher.publish_blocking(b"", timeout_s=20)
        say([counts[0] == counts[1], counts[0], sorted(statuses)])
        node.close()
        """,
        str(rounds(20, 200)),
    )
    same, count, statuses = parent.hear(timeout_s=55)
    assert (same, statuses) == (True, [0])
    assert listener.hear() == count
    listener.tell("end")
    assert parent.end() == (0, "")
    assert listener.end() == (0, "")


def test_a_fork_in_the_middle_of_setting_up_keeps_no_socket(start, rounds):
    """The control thread may hold a socket that is in no list yet: a fork waits until it does not."""
    program = start(
        """
        before = len(os.listdir("/proc/self/fd"))
        kept = 0
        for number in range(int(sys.argv[1])):
            node = lunar.Node("parent")
            child = os.fork()
            if child == 0:
                os._exit(len(os.listdir("/proc/self/fd")) - before)
            kept += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            node.close()
        say(kept)
        """,
        str(rounds(50, 500)),
    )
    others = [start("node = lunar.Node('other')\nsay('there')\nheard()") for _ in range(2)]
    assert [other.hear() for other in others] == ["there", "there"]
    assert program.hear(timeout_s=50) == 0
    assert program.end() == (0, "")


def test_a_fork_while_another_thread_closes_its_node_keeps_no_socket(start, rounds):
    program = start(
        """
        before = len(os.listdir("/proc/self/fd"))
        kept = 0
        for number in range(int(sys.argv[1])):
            node = lunar.Node("closing")
            thread = threading.Thread(target=node.close)
            thread.start()
            child = os.fork()
            if child == 0:
                os._exit(len(os.listdir("/proc/self/fd")) - before)
            kept += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            thread.join()
        say(kept)
        """,
        str(rounds(50, 500)),
    )
    assert program.hear(timeout_s=50) == 0
    assert program.end() == (0, "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_have_nodes_of_their_own(start, tmp_path, method):
    script = tmp_path / "pooled.py"
    script.write_text(f"""
import json, multiprocessing, os
import lunar

def work(number):
    with lunar.Node(f"worker_{{os.getpid()}}_{{number}}") as node:
        publisher = node.create_publisher(bytes, "results", qos=lunar.QoS(history="keep_all"))
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        publisher.publish_blocking(b"%d" % number, timeout_s=20)

if __name__ == "__main__":
    node = lunar.Node("parent")
    subscription = node.create_subscription(bytes, "results", qos=lunar.QoS(history="keep_all"))
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        result = pool.map_async(work, range(6))
        got = sorted(int(bytes(subscription.receive_blocking(timeout_s=20))) for _ in range(6))
        result.get(20)
        pool.close()
        pool.join()
    os.write(1, json.dumps(got).encode() + b"\\n")
    node.close()
""")
    program = start(str(script))
    assert program.hear(timeout_s=45) == [0, 1, 2, 3, 4, 5]
    assert program.end() == (0, "")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_child_that_ends_with_an_open_node_leaves_no_socket(start, tmp_path, runtime_dir, method):
    script = tmp_path / "leaving.py"
    script.write_text(f"""
import json, multiprocessing, os
import lunar

def work():
    global node
    node = lunar.Node("never_closed")
    node.create_publisher(bytes, "topic")

if __name__ == "__main__":
    process = multiprocessing.get_context({method!r}).Process(target=work)
    process.start()
    process.join(20)
    os.write(1, json.dumps(process.exitcode).encode() + b"\\n")
""")
    program = start(str(script))
    assert program.hear() == 0
    assert program.end() == (0, "")
    assert [path.name for path in runtime_dir.rglob("*.sock")] == []


def test_a_program_that_is_started_inherits_no_descriptor(start):
    program = start(
        """
    import subprocess
    listing = [sys.executable, "-c", "import os; print(len(os.listdir('/proc/self/fd')))"]
    def inherited():
        return int(subprocess.run(listing, close_fds=False, stdout=subprocess.PIPE).stdout)
    before_all = inherited()
        """
        + WITH_OPEN_NODE
        + """
    publisher.publish_nowait(bytes(100_000))
    kept = subscription.receive_blocking(timeout_s=10)
    other = lunar.Node("second", domain=7)
    say(inherited() - before_all)
    other.close()
    node.close()
    """
    )
    assert program.hear() == 0
    assert program.end() == (0, "")
