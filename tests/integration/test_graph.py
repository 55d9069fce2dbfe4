"""Who is there: several nodes in a process, many processes, domains apart, snapshots."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

import lunar
from lunar.testing import Child

StartChild = Callable[..., Child]

# One of many: says when it is matched with everybody, and ends when told to.
CROWD = """
import sys, lunar
count, index = int(sys.argv[1]), sys.argv[2]
with lunar.Node(f"node_{index}") as node:
    pub = node.create_publisher(bytes, "crowd")
    sub = node.create_subscription(bytes, "crowd")
    pub.wait_for_subscribers_blocking(count, timeout_s=30)
    sub.wait_for_publishers_blocking(count, timeout_s=30)
    print("matched", flush=True)
    sys.stdin.read()
"""


def test_several_nodes_of_a_process_meet_like_any_others() -> None:
    with lunar.Node("first") as first, lunar.Node("second", namespace="/robot") as second:
        publisher = first.create_publisher(bytes, "/robot/chatter")
        subscription = second.create_subscription(bytes, "chatter")
        publisher.wait_for_subscribers_blocking(1, timeout_s=5)
        publisher.publish_nowait(b"one")
        assert bytes(subscription.receive_blocking(timeout_s=5)) == b"one"
        assert (first.full_name, second.full_name) == ("/first", "/robot/second")
        assert (second.name, second.namespace) == ("second", "/robot")
        assert repr(second) == "<Node /robot/second in domain 0>"
        first.close()
        assert repr(first) == "<closed Node /first in domain 0>"
        # The second goes on.
        other = second.create_publisher(bytes, "chatter")
        other.wait_for_subscribers_blocking(1, timeout_s=5)
        other.publish_nowait(b"two")
        assert bytes(subscription.receive_blocking(timeout_s=5)) == b"two"


def test_a_name_is_taken_once_in_a_process_and_domain() -> None:
    with lunar.Node("taken"), lunar.Node("taken", namespace="/other"), lunar.Node("taken", domain=1):
        with pytest.raises(lunar.LunarError, match="already has a node /taken in domain 0"):
            lunar.Node("taken")
        with lunar.Node("free"):
            pass
    with lunar.Node("taken"):
        pass


def test_nodes_come_and_go_without_leaving_anything(no_leaks: Callable[[], list[str]], runtime_dir: Path) -> None:
    for _ in range(20):
        with lunar.Node("tested") as node:
            publisher = node.create_publisher(bytes, "chatter")
            subscription = node.create_subscription(bytes, "chatter")
            publisher.wait_for_subscribers_blocking(1, timeout_s=5)
            publisher.publish_nowait(b"one")
            subscription.receive_blocking(timeout_s=5)
    assert os.listdir(runtime_dir / "0") == []
    (runtime_dir / "0").rmdir()


async def test_endpoints_of_a_topic_meet_wherever_they_are(node: lunar.Node, start_child: StartChild) -> None:
    children = [start_child(f"other_{index}") for index in range(3)]
    publisher = node.create_publisher(bytes, "chatter")
    subscription = node.create_subscription(bytes, "chatter")
    for child in children:
        child.call("publisher", topic="chatter", qos={})
        child.call("subscription", topic="chatter", qos={})
        child.call("publisher", topic="elsewhere", qos={})
    await publisher.wait_for_subscribers(4, timeout_s=5)
    await subscription.wait_for_publishers(4, timeout_s=5)
    for child in children:
        child.call("wait_for_subscribers", topic="chatter", count=4)
        child.call("wait_for_publishers", topic="chatter", count=4)
    assert (publisher.subscriber_count, subscription.publisher_count) == (4, 4)


def test_domains_do_not_see_each_other(start_child: StartChild) -> None:
    other = start_child("other", LUNAR_DOMAIN="7")
    other.call("publisher", topic="chatter", qos={})
    with lunar.Node("tested") as here, lunar.Node("tested", domain=7) as there:
        apart = here.create_subscription(bytes, "chatter")
        together = there.create_subscription(bytes, "chatter")
        together.wait_for_publishers_blocking(1, timeout_s=5)
        other.call("wait_for_subscribers", topic="chatter")
        assert [node.full_name for node in lunar.graph_snapshot().nodes] == ["/tested"]
        assert [node.full_name for node in lunar.graph_snapshot(domain=7).nodes] == ["/other", "/tested"]
        assert apart.publisher_count == 0


def test_the_environment_chooses_the_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_DOMAIN", "9")
    with lunar.Node("tested") as node:
        assert "domain 9" in repr(node)
        assert len(lunar.graph_snapshot().nodes) == 1
    monkeypatch.setenv("LUNAR_DOMAIN", "233")
    with pytest.raises(lunar.ConfigError, match="LUNAR_DOMAIN"):
        lunar.Node("tested")


def test_a_range_is_host_or_network() -> None:
    with pytest.raises(lunar.ConfigError, match="LUNAR_RANGE='lan' is not valid; allowed: host or network"):
        lunar.Node("tested", range="lan")  # type: ignore[arg-type]
    with lunar.Node("tested", range="host"):
        pass


def test_a_wrong_settings_file_refuses_a_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "lunar.toml"
    path.write_text("domain = 233\nrang = 1\n")
    monkeypatch.setenv("LUNAR_CONFIG", str(path))
    with pytest.raises(lunar.ConfigError, match=f"{path}:1: .*\n{path}:2: there is no setting rang"):
        lunar.Node("tested")


def test_a_snapshot_shows_nodes_and_endpoints_with_their_profiles(start_child: StartChild) -> None:
    qos = lunar.QoS(depth=3, reliability="best_effort")
    child = start_child("other")
    child.call("publisher", topic="chatter", qos=qos.to_dict())
    with lunar.Node("tested", namespace="/robot") as node:
        subscription = node.create_subscription(bytes, "chatter")
        snapshot = lunar.graph_snapshot()
        assert snapshot.unreachable == ()
        other, tested = snapshot.nodes
        assert (other.full_name, other.pid, other.uid) == ("/other", child.pid, os.geteuid())
        assert (tested.full_name, tested.namespace, tested.pid) == ("/robot/tested", "/robot", os.getpid())
        (there,), (here,) = other.endpoints, tested.endpoints
        assert (there.kind, there.topic, there.type_name, there.qos) == ("publisher", "/chatter", "bytes", qos)
        assert (here.kind, here.topic, here.id, here.node_name) == (
            "subscription",
            "/robot/chatter",
            subscription.id,
            "/robot/tested",
        )
        assert snapshot.endpoints == (there, here)


def test_a_snapshot_is_the_same_from_everywhere(start_child: StartChild) -> None:
    children = [start_child(f"other_{index}") for index in range(2)]
    for child in children:
        child.call("subscription", topic="chatter", qos={})
    mine = lunar.graph_snapshot().to_dict()["nodes"]
    for child in children:
        theirs = cast("list[dict[str, object]]", child.call("snapshot"))
        assert [found["name"] for found in theirs] == ["other_0", "other_1"]
        assert theirs == mine


def test_a_snapshot_of_nobody_is_empty() -> None:
    assert lunar.graph_snapshot() == lunar.GraphSnapshot()
    assert lunar.graph_snapshot(domain=5) == lunar.GraphSnapshot()


def test_a_snapshot_names_whoever_does_not_answer_and_shows_the_others(start_child: StartChild) -> None:
    hung = start_child("hung")
    hung.call("publisher", topic="chatter", qos={})
    well = start_child("well")
    well.call("publisher", topic="chatter", qos={})
    hung.stop()
    snapshot = lunar.graph_snapshot(timeout_s=0.3)
    hung.resume()
    assert [node.full_name for node in snapshot.nodes] == ["/well"]
    (reason,) = snapshot.unreachable
    assert "does not answer" in reason


def test_a_node_that_was_closed_is_gone_from_the_snapshot(start_child: StartChild) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos={})
    with lunar.Node("watching"):
        assert [node.full_name for node in lunar.graph_snapshot().nodes] == ["/other", "/watching"]
        child.call("close_publisher", topic="chatter")
        while lunar.graph_snapshot().endpoints:  # the news is on its way
            pass
        child.call("close_node")
        assert [node.full_name for node in lunar.graph_snapshot().nodes] == ["/watching"]


def test_a_process_that_was_killed_leaves_nothing_behind(start_child: StartChild, runtime_dir: Path) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos={})
    assert len(os.listdir(runtime_dir / "0")) == 1
    child.kill()
    assert len(os.listdir(runtime_dir / "0")) == 1
    # Whoever finds the socket of the dead removes it.
    with lunar.Node("next"):
        assert [node.full_name for node in lunar.graph_snapshot().nodes] == ["/next"]
    assert os.listdir(runtime_dir / "0") == []


@pytest.mark.slow
def test_twenty_processes_are_all_matched_with_each_other() -> None:
    count = 20
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(count), str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for index in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"matched\n"
        snapshot = lunar.graph_snapshot(timeout_s=5)
        assert len(snapshot.nodes) == count
        assert len(snapshot.endpoints) == 2 * count
    finally:
        for process in processes:
            process.communicate(timeout=20)
