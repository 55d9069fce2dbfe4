"""The ports of the accelerated path between two hosts: programs in C, one on each, driven by a line at a time."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lunar import testing
from lunar.testing import links

REASON = testing.lab_unavailable()
COMPILER = shutil.which(os.environ.get("CC", "cc"))
pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler to build the program with"),
]

PORT = 7410
SOURCE = Path(__file__).with_name("port_program.c")
NET = Path(__file__).parents[3] / "transports/xdp/native/net"
WITHIN_S = 10.0


class Program:
    """A port on a host."""

    def __init__(self, host: testing.Host, path: Path) -> None:
        self.host = host
        self.process = host.start([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line: str) -> list[str]:
        """Sends a command; the words of the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().split()

    def open(self, mode: str = "native") -> list[str]:
        return self.ask(f"open xdp eth0 {self.host.address} {PORT} {mode}")

    def send(self, to: testing.Host, count: int = 1, size_bytes: int = 64, port: int = PORT) -> list[str]:
        return self.ask(f"send {to.address} {port} {mac_of(to)} {count} {size_bytes}")

    def counters(self) -> dict[str, int]:
        names = ("rejected", "dropped", "taken", "passed", "unserved")
        return dict(zip(names, map(int, self.ask("counters")[1:]), strict=True))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built from the sources that are tested."""
    made = tmp_path_factory.mktemp("xdp") / "port_program"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{NET}"]
    sources = [SOURCE, *sorted(NET.glob("*.c"))]
    subprocess.run([str(COMPILER), *flags, *map(str, sources), "-o", str(made)], check=True)
    return made


@pytest.fixture
def hosts(no_leaks: Callable[[], list[str]]) -> Iterator[testing.Hosts]:
    with testing.Hosts(2, direct=True) as hosts:
        yield hosts


@pytest.fixture
def near(hosts: testing.Hosts, path: Path) -> Program:
    return Program(hosts[0], path)


@pytest.fixture
def far(hosts: testing.Hosts, path: Path) -> Program:
    return Program(hosts[1], path)


def mac_of(host: testing.Host) -> str:
    def read() -> str:
        from pyroute2 import IPRoute

        with IPRoute() as netlink:
            (index,) = netlink.link_lookup(ifname="eth0")
            return str(netlink.get_links(index)[0].get_attr("IFLA_ADDRESS"))

    return host.call(read)


def has_program(host: testing.Host) -> bool:
    def read() -> bool:
        from pyroute2 import IPRoute

        with IPRoute() as netlink:
            (index,) = netlink.link_lookup(ifname="eth0")
            return bool(netlink.get_links(index)[0].get_nested("IFLA_XDP", "IFLA_XDP_ATTACHED"))

    return host.call(read)


def wait_until(claim: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while not claim():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.005)


def udp_socket(host: testing.Host, port: int) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(WITHIN_S)
        made.bind((host.address, port))
        return made

    return host.call(make)


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("size_bytes", [1, 64, 1472])
def test_there_and_back(near: Program, far: Program, mode: str, size_bytes: int) -> None:
    assert near.open(mode)[:2] == ["ok", mode]
    assert far.open(mode)[:2] == ["ok", mode]
    for source, sink in ((near, far), (far, near)):
        assert source.send(sink.host, 500, size_bytes) == ["ok", "500", "0"]
        assert sink.ask("receive 500") == ["ok", "500", "0"]
        counters = sink.counters()
        assert counters["taken"] == 500
        assert counters["rejected"] == counters["dropped"] == counters["unserved"] == 0


def test_both_backends_understand_one_another(near: Program, far: Program) -> None:
    assert near.open()[0] == "ok"
    assert far.ask(f"open udp {far.host.address} {PORT}") == ["ok", "udp"]
    for source, sink in ((near, far), (far, near)):  # the kernel's datagrams have no checksum on this cable
        assert source.send(sink.host, 300, 1000) == ["ok", "300", "0"]
        assert sink.ask("receive 300") == ["ok", "300", "0"]


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_other_traffic_passes(near: Program, far: Program, mode: str) -> None:
    assert near.open(mode)[0] == "ok"
    assert far.open(mode)[0] == "ok"
    here, there = near.host, far.host
    server = there.call(lambda: socket.create_server((there.address, PORT)))  # TCP, by the same number
    with closing(server):
        client = here.call(lambda: socket.create_connection((there.address, PORT), WITHIN_S))
        with closing(client), closing(server.accept()[0]) as accepted:
            client.sendall(b"x" * 100_000)
            client.shutdown(socket.SHUT_WR)
            assert sum(map(len, iter(lambda: accepted.recv(65536), b""))) == 100_000
    with closing(udp_socket(here, PORT + 1)) as left, closing(udp_socket(there, PORT + 1)) as right:
        left.sendto(b"y" * 4000, (there.address, PORT + 1))  # in fragments
        assert right.recv(65536) == b"y" * 4000
    with closing(udp_socket(here, PORT + 1)) as left, closing(udp_socket(there, PORT)) as right:
        left.sendto(b"z" * 4000, (there.address, PORT))  # to our port, but nobody there puts fragments together
        assert right.recv(65536) == b"z" * 4000
    counters = far.counters()
    assert counters["passed"] > 5
    assert counters["taken"] == counters["rejected"] == 0


def test_an_address_of_somebody_else(near: Program, far: Program) -> None:
    """This machine may be a router: what is not to its address is the kernel's."""
    assert near.open()[0] == "ok"
    assert far.open()[0] == "ok"
    assert near.ask(f"send 198.18.0.77 {PORT} {mac_of(far.host)} 5 64") == ["ok", "5", "0"]
    assert near.send(far.host) == ["ok", "1", "0"]
    assert far.ask("receive 1") == ["ok", "1", "0"]
    assert far.counters()["taken"] == 1


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_nothing_is_left_of_an_owner_that_is_killed(
    near: Program, far: Program, path: Path, mode: str, rounds: Callable[[int, int], int]
) -> None:
    assert near.open(mode)[0] == "ok"
    for _ in range(rounds(3, 50)):
        owner = Program(far.host, path)
        assert owner.open(mode)[0] == "ok"
        assert near.send(far.host, 100) == ["ok", "100", "0"]
        assert has_program(far.host)
        owner.process.kill()
        owner.process.wait()
        assert not has_program(far.host)
        wait_until(lambda pid=owner.process.pid: near.ask(f"programs lunar_{pid}") == ["ok", "0"])  # type: ignore[misc]
    assert far.open(mode)[0] == "ok"  # its queue is free
    assert near.send(far.host) == ["ok", "1", "0"]
    assert far.ask("receive 1") == ["ok", "1", "0"]


@pytest.mark.faults
def test_killed_at_any_moment(hosts: testing.Hosts, path: Path, rounds: Callable[[int, int], int]) -> None:
    """Also in the middle of opening: the next one has the interface, at once."""
    delays = random.Random(7)
    for _ in range(rounds(10, 300)):
        owner = Program(hosts[0], path)
        assert owner.process.stdin is not None
        owner.process.stdin.write(f"open xdp eth0 {hosts[0].address} {PORT} best\n".encode())
        owner.process.stdin.flush()
        time.sleep(delays.uniform(0, 0.02))
        owner.process.kill()
        owner.process.wait()
        assert not has_program(hosts[0])
    assert Program(hosts[0], path).open("native")[:2] == ["ok", "native"]


def test_who_has_the_interface_is_told(near: Program, hosts: testing.Hosts, path: Path) -> None:
    assert near.open("best")[0] == "ok"
    second = Program(hosts[0], path)
    answer = " ".join(second.open("best"))
    assert answer.startswith("error 16 ")
    assert f"another Lunar process, {near.process.pid}" in answer


def test_another_program_is_told(near: Program, far: Program) -> None:
    assert near.ask("occupy eth0") == ["ok"]
    answer = " ".join(near.open("best"))
    assert answer.startswith("error 16 ")
    assert "another XDP program, firewall" in answer
    assert far.open()[0] == "ok"  # the other end is nobody's


def test_link_down_and_up(near: Program, far: Program) -> None:
    assert near.open()[0] == "ok"
    assert far.open()[0] == "ok"
    near.host.call(lambda: links.set_up("eth0", False))
    assert near.send(far.host) == ["ok", "1", "100"]  # ENETDOWN
    near.host.call(lambda: links.set_up("eth0"))
    near.host.call(lambda: links.wait_until_up("eth0"))
    assert near.send(far.host) == ["ok", "1", "0"]
    assert far.ask("receive 2") == ["ok", "2", "0"]  # the first one has waited
    assert far.send(near.host) == ["ok", "1", "0"]
    assert near.ask("receive 1") == ["ok", "1", "0"]


def test_the_interface_is_removed(near: Program, far: Program) -> None:
    assert near.open()[0] == "ok"
    assert far.open()[0] == "ok"
    mac = mac_of(far.host)
    near.host.call(lambda: links.remove_link("eth0"))
    for program in (near, far):  # of a cable both ends go
        assert program.ask(f"send {far.host.address} {PORT} {mac} 1 64") == ["ok", "1", "19"]  # ENODEV
        assert program.ask("receive 1")[:2] == ["error", "19"]
        assert program.process.poll() is None


@pytest.mark.hostile
def test_hostile_frames_are_rejected(near: Program, far: Program) -> None:
    assert far.open()[0] == "ok"
    to, source = bytes.fromhex(mac_of(far.host).replace(":", "")), bytes(6)
    ends = socket.inet_aton(near.host.address) + socket.inet_aton(far.host.address)
    ip = bytes.fromhex("4500 0024 0000 4000 4011 0000") + ends
    total = sum(int.from_bytes(ip[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    good = ip[:10] + (0xFFFF - total).to_bytes(2, "big") + ip[12:]
    ports = PORT.to_bytes(2, "big") * 2

    def frame(ip: bytes, udp_bytes: int) -> bytes:
        return to + source + b"\x08\x00" + ip + ports + udp_bytes.to_bytes(2, "big") + bytes(2 + 8)

    def write(*frames: bytes) -> None:
        with closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as raw:
            raw.bind(("eth0", 0))
            for each in frames:
                raw.send(each)

    wrong = [frame(good, 65535), frame(good, 17), frame(good, 7), frame(good, 0), frame(ip, 16)]
    near.host.call(lambda: write(*wrong, frame(good, 16)))
    assert far.ask("receive 1") == ["ok", "1", "0"]
    counters = far.counters()
    assert (counters["taken"], counters["rejected"]) == (len(wrong) + 1, len(wrong))
