"""What a link does when the kernel does not take, or not give, what it should."""

import os
import socket

import pytest

from lunar.graph.link import Link
from lunar.graph.waiting import acquire_bells, release_bells

pytestmark = pytest.mark.faults


@pytest.fixture
def ends():
    """A link, the socket at its other end, and a list of the links that asked for attention."""
    asked: list[Link] = []
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    link = Link(ours, acquire_bells(), asked.append, pid=os.getpid(), uid=os.geteuid())
    yield link, theirs, asked
    link.close()
    theirs.close()
    release_bells()


def test_what_a_peer_sent_is_read_although_it_died_with_unread_packets(ends):
    link, theirs, _ = ends
    with open(os.memfd_create("passed"), "rb") as passed:
        socket.send_fds(theirs, [b'[{"op":"last","fds":1}]'], [passed.fileno()])
    link.send_operations([{"op": "unread"}])
    theirs.close()
    ((operation, fds),) = link.receive()
    assert operation["op"] == "last"
    os.close(*fds)
    assert link.receive() is None


def test_a_packet_that_the_kernel_refuses_for_now_is_sent_later(ends, monkeypatch):
    link, theirs, asked = ends
    send = socket.send_fds

    def refuse(*arguments):
        raise OSError(109, "too many references")  # ETOOMANYREFS: too many descriptors are under way

    with open("/dev/null", "rb") as passed:
        monkeypatch.setattr(socket, "send_fds", refuse)
        link.send_operations([{"op": "first"}], [passed.fileno()])
        link.send_operations([{"op": "second"}])
        assert asked == [link, link]
        link.flush()
        assert link.has_backlog
        assert link.congested
        monkeypatch.setattr(socket, "send_fds", send)
        link.flush()
    assert not link.has_backlog
    assert not link.congested
    packet, fds, _, _ = socket.recv_fds(theirs, 1000, 2)
    assert packet == b'[{"op":"first","fds":1}]'
    os.close(*fds)
    assert theirs.recv(1000) == b'[{"op":"second"}]'


def test_a_link_whose_outbox_cannot_take_more_asks_to_be_hung_up(ends):
    link, _, asked = ends
    while not asked:  # the socket's own buffer comes first
        link.send_operations([{"op": "x" * 10_000}])
    assert not link.overflowed
    for _ in range(10_000):
        link.send_operations([{"op": "x"}])
    assert link.overflowed


@pytest.mark.skipif("os.geteuid() != 0", reason="needs root, to become a user whom the kernel's limit holds for")
def test_descriptors_under_way_may_reach_the_users_limit(start):
    """Every segment is under way to each of several stopped peers: more descriptors than the user may have."""
    directory = f"/tmp/lunar-nobody-{os.getpid()}"
    os.mkdir(directory, 0o700)
    os.chown(directory, 65534, 65534)
    try:
        become_nobody = "os.setgid(65534); os.setuid(65534)\n"
        peers = [
            start(
                become_nobody
                + """
node = lunar.Node("peer")
subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all"))
subscription.wait_for_publishers_blocking(1, timeout_s=20)
say("there")
say([len(subscription.receive_blocking(timeout_s=20)) for _ in range(17)])
heard()
""",
                LUNAR_RUNTIME_DIR=directory,
            )
            for _ in range(6)
        ]
        publisher = start(
            become_nobody
            + """
node = lunar.Node("publisher")
publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(history="keep_all"))
publisher.wait_for_subscribers_blocking(6, timeout_s=20)
heard()
resource.setrlimit(resource.RLIMIT_NOFILE, (90, 90))  # 102 are to be under way
for power in range(17):
    publisher.publish_nowait(bytes(64 << power))
say("published")
heard()
""",
            LUNAR_RUNTIME_DIR=directory,
        )
        for peer in peers:
            assert peer.hear() == "there"
            peer.stop()
        publisher.tell("go")
        assert publisher.hear() == "published"
        for peer in peers:
            peer.signal(18)  # SIGCONT
        for peer in peers:
            assert peer.hear() == [64 << power for power in range(17)]
        publisher.tell("end")
        assert publisher.end() == (0, "")
    finally:
        for name in os.listdir(directory):
            for entry in os.listdir(f"{directory}/{name}"):
                os.unlink(f"{directory}/{name}/{entry}")
            os.rmdir(f"{directory}/{name}")
        os.rmdir(directory)
