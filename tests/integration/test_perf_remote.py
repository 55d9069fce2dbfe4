"""`lunar perf --remote` against a `lunar perf serve`: on one host over loopback, and between two hosts of a lab."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from lunar_perf.link_lab import sent_by

from lunar import testing
from tests.integration.test_cli import until
from tests.integration.test_perf_cli import LUNAR, perf

pytest.importorskip("cyclonedds", reason="the network needs lunar-mom[dds]")
REASON = testing.lab_unavailable()
in_a_lab = pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")

Start = Callable[..., "subprocess.Popen[bytes]"]


def start_here(command: list[str], *, environment: Mapping[str, str], **streams: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env={**os.environ, **environment}, **streams)  # type: ignore[call-overload, no-any-return]


class Serving:
    """A `lunar perf serve --json`, and what it prints."""

    def __init__(self, start: Start, environment: Mapping[str, str], *arguments: str) -> None:
        command = [*LUNAR, "perf", "serve", "--json", "--port", "0", *arguments]
        pipe = subprocess.PIPE
        self.process = start(command, environment=environment, stdout=pipe, stderr=pipe)
        self.address = self.next("listening")["addresses"][0]

    def next(self, kind: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        document = json.loads(line)
        assert document["kind"] == kind, document
        return document  # type: ignore[no-any-return]

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, complaint = self.process.communicate(timeout=20)
        assert b"Traceback" not in complaint, complaint.decode()
        return self.process.returncode


@contextmanager
def serving(start: Start, environment: Mapping[str, str], *arguments: str) -> Iterator[Serving]:
    served = Serving(start, environment, *arguments)
    try:
        yield served
    finally:
        served.end()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    monkeypatch.setenv("LUNAR_INTERFACES", "lo")
    monkeypatch.setenv("LUNAR_DOMAIN", "93")
    return {}


def remote(served: Serving, tool: str, *arguments: str) -> dict[str, object]:
    pipe = subprocess.PIPE
    command = [*LUNAR, "perf", tool, "--remote", served.address, "--json", *arguments]
    done = subprocess.run(command, stdout=pipe, stderr=pipe, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def test_the_whole_of_it_on_one_host(loopback: Mapping[str, str]) -> None:
    with serving(start_here, loopback) as served:
        document = remote(served, "ping-pong", "--count", "20", "--warmup", "2")
        assert (document["transport"], document["count"]) == ("dds", 20)
        assert served.next("started")
        assert served.next("finished")["transport"] == "dds"
        arguments = ("--seconds", "0.1", "--subscribers", "2", "--message", "Imu")
        stream = remote(served, "throughput", *arguments)
        assert isinstance(stream["sent"], int)
        assert (stream["received"], stream["lost"], stream["repeated"]) == (2 * stream["sent"], 0, 0)
        assert served.next("started")
        assert served.next("finished")["received"] == stream["received"]
        assert served.end() == 130
    assert psutil.Process().children(recursive=True) == []


def test_local_and_remote_results_have_one_schema(loopback: Mapping[str, str]) -> None:
    with serving(start_here, loopback, "--once") as served:
        there = remote(served, "throughput", "--seconds", "0.1", "--reliability", "best_effort", "--depth", "4")
        assert served.process.wait(20) == 0
    here = json.loads(perf("throughput", "--seconds", "0.1", "--json").stdout)
    assert list(there) == list(here)
    hosts = there["hosts"]
    assert isinstance(hosts, list)
    assert [(each["side"], each["address"]) for each in hosts] == [("send", "127.0.0.1"), ("receive", "127.0.0.1")]
    assert [list(each) for each in hosts] == [list(each) for each in here["hosts"]]
    assert (here["transport"], list(here["reasons"])) == ("shm", ["shm"])
    reasons, sent, received, lost = (there[key] for key in ("reasons", "sent", "received", "lost"))
    assert isinstance(reasons, dict)
    assert reasons["dds"].startswith("chosen: ")
    assert reasons["shm"] == "the two ends are on different hosts, and it reaches only its own"
    assert isinstance(received, int)
    assert isinstance(lost, int)
    assert received + lost == sent


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill", "ctrl-c"])
def test_a_client_that_is_ended_frees_the_server(
    loopback: Mapping[str, str], sent: signal.Signals, status: int
) -> None:
    with serving(start_here, loopback) as served:
        pipe = subprocess.PIPE
        command = [*LUNAR, "perf", "throughput", "--remote", served.address, "--seconds", "60"]
        with subprocess.Popen(command, stdout=pipe, stderr=pipe) as client:
            served.next("started")
            client.send_signal(sent)
            _, complaint = client.communicate(timeout=20)
        assert client.returncode == status
        assert b"Traceback" not in complaint
        # Which of the two depends on what it had not read yet.
        assert re.search("closed the connection|Connection reset", served.next("failed")["text"])
        assert remote(served, "ping-pong", "--count", "5", "--warmup", "1")["count"] == 5


def test_a_server_that_is_ended_tells_its_client(loopback: Mapping[str, str]) -> None:
    with serving(start_here, loopback) as served:
        pipe = subprocess.PIPE
        command = [*LUNAR, "perf", "throughput", "--remote", served.address, "--seconds", "60"]
        with subprocess.Popen(command, stdout=pipe, stderr=pipe) as client:
            served.next("started")
            assert served.end() == 130
            _, complaint = client.communicate(timeout=20)
        assert client.returncode == 1
        assert f"{served.address}: it was ended" in complaint.decode()
    assert psutil.Process().children(recursive=True) == []


def test_nobody_there_is_an_error_with_its_remedy() -> None:
    assert "start `lunar perf serve` there" in perf("ping-pong", "--remote", "127.0.0.1:1", status=1).stderr


def test_a_port_that_is_taken_is_an_error(loopback: Mapping[str, str]) -> None:
    with serving(start_here, loopback) as served:
        port = served.address.rpartition(":")[2]
        second = subprocess.run([*LUNAR, "perf", "serve", "--port", port], capture_output=True, timeout=20, check=False)
        assert second.returncode == 1
        assert f"TCP port {port} is taken" in second.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ping-pong", "--remote", "robot", "--transport", "shm"], "stays within a host"),
        (["ping-pong", "--remote", "robot:0"], "expected 1 to 65535"),
        (["throughput", "--remote", "robot", "--message", "robot.fbs:State"], "classes of lunar.msgs only"),
        (["serve", "--bind", "192.0.2.1"], "no such interface or address"),
        (["serve", "--port", "65536"], "0<=x<=65535"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], complaint: str) -> None:
    assert complaint in " ".join(perf(*arguments, status=2).stderr.replace("│", " ").split())


def test_help_has_examples() -> None:
    assert "lunar perf serve --bind" in perf("serve", "--help").stdout
    for tool in ("ping-pong", "throughput"):
        assert f"lunar perf {tool} --remote" in perf(tool, "--help").stdout


@pytest.fixture
def hosts(no_leaks: Callable[[], list[str]]) -> Iterator[testing.Hosts]:
    with testing.Hosts(2) as hosts:
        yield hosts


@in_a_lab
@pytest.mark.privileged
@pytest.mark.parametrize("transport", ["zmq", "dds", "xdp", ""])
def test_between_two_hosts(hosts: testing.Hosts, tmp_path: Path, transport: str) -> None:
    settings = tmp_path / "lunar.toml"
    settings.write_text("[transport.zmq]\ncurve = false\n")
    environment = {"LUNAR_CONFIG": str(settings)}
    asked = ["--transport", transport] if transport else []
    asked += ["--backend", "udp"] if transport == "xdp" else []

    def measure(tool: str, *arguments: str) -> dict[str, object]:
        pipe = subprocess.PIPE
        command = [*LUNAR, "perf", tool, "--remote", hosts[1].address, "--json", *asked, *arguments]
        client = hosts[0].start(command, environment=environment, stdout=pipe, stderr=pipe)
        out, complaint = client.communicate(timeout=60)
        assert client.returncode == 0, complaint.decode()
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    with serving(hosts[1].start, environment, "--port", "7390") as served:
        assert served.address == f"{hosts[1].address}:7390"
        round_trips = measure("ping-pong", "--count", "20", "--warmup", "2", "--wait", "sleep")
        assert (round_trips["transport"], round_trips["count"]) == (transport or "zmq", 20)
        places = round_trips["hosts"]
        assert isinstance(places, list)
        assert [each["address"] for each in places] == [hosts[0].address, hosts[1].address]
        stream = measure("throughput", "--seconds", "0.2", "--size", "100000")
        assert isinstance(stream["sent"], int)
        assert stream["sent"] > 0
        assert (stream["received"], stream["lost"], stream["repeated"]) == (stream["sent"], 0, 0)
        assert served.end() == 130


@in_a_lab
@pytest.mark.privileged
def test_without_multicast_the_host_that_is_named_is_enough(hosts: testing.Hosts) -> None:
    for host in hosts:
        assert host.start(["ip", "link", "set", host.interfaces[0], "multicast", "off"]).wait(10) == 0
    pipe = subprocess.PIPE
    with serving(hosts[1].start, {}, "--port", "7390", "--once") as served:
        command = [*LUNAR, "perf", "ping-pong", "--remote", served.address, "--count", "5", "--json"]
        client = hosts[0].start(command, environment={}, stdout=pipe, stderr=pipe)
        out, complaint = client.communicate(timeout=60)
        assert client.returncode == 0, complaint.decode()
        assert json.loads(out)["count"] == 5
        assert served.process.wait(20) == 0


@in_a_lab
@pytest.mark.privileged
@pytest.mark.slow
def test_a_cable_that_is_cut_frees_the_server_and_tells_the_client(hosts: testing.Hosts) -> None:
    pipe = subprocess.PIPE
    with serving(hosts[1].start, {}, "--port", "7390") as served:
        command = [*LUNAR, "perf", "throughput", "--remote", served.address, "--seconds", "60"]
        client = hosts[0].start(command, environment={}, stdout=pipe, stderr=pipe)
        served.next("started")
        until(lambda: hosts[0].call(partial(sent_by, "eth0")).size_bytes > 1_000_000)  # messages flow
        hosts.cut(hosts[1])
        assert "said nothing for 6 s" in served.next("failed")["text"]
        _, complaint = client.communicate(timeout=20)
        assert client.returncode == 1
        assert f"{served.address}: it said nothing for 6 s" in complaint.decode()
