"""A lab of network namespaces: who reaches whom, what a bad cable does, and that nothing is left of it."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from lunar import errors, testing
from lunar.testing import lab, links, namespaces

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

PORT = 9000
GROUP = "239.255.0.1"
CHILD = Path(__file__).with_name("lab_child.py")


def own_links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def folders() -> set[Path]:
    return set(Path("/tmp").glob("lunar-lab-*"))


@pytest.fixture(autouse=True)
def nothing_is_left(no_leaks: Callable[[], list[str]]) -> Iterator[None]:
    testing.remove_leftovers()
    before = set(namespaces.names()), own_links(), folders()
    yield
    assert (set(namespaces.names()), own_links(), folders()) == before


@pytest.fixture
def hosts() -> Iterator[testing.Hosts]:
    with testing.Hosts(2) as hosts:
        # The first packets wait for ARP and are sent by another core, so that later ones overtake them.
        for source, sink in itertools.permutations(hosts):
            with closing(bound(source)) as near, closing(bound(sink)) as far:
                assert passes(near, far, sink.address)
        yield hosts


def bound(host: testing.Host, port: int = PORT) -> socket.socket:
    """A UDP socket of this process on that host."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE: what is lost here nobody would count
        made.bind(("", port))
        made.settimeout(5)
        return made

    return host.call(make)


def passes(sender: socket.socket, receiver: socket.socket, address: str, timeout_s: float = 5) -> bool:
    receiver.settimeout(timeout_s)
    token = os.urandom(8)
    try:
        sender.sendto(token, (address, PORT))
        # One that waited for ARP while a cable was cut may come before it.
        while receiver.recv(100) != token:
            pass
    except (OSError, TimeoutError):
        return False
    return True


def drain(receiver: socket.socket) -> list[bytes]:
    """What has come by now."""
    receiver.setblocking(False)
    got = []
    while True:
        try:
            got.append(receiver.recv(1 << 16))
        except BlockingIOError:
            return got


def wait_until(true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not true():
        assert time.monotonic() < give_up_at
        os.sched_yield()


def test_every_host_reaches_every_other_one() -> None:
    with testing.Hosts(3, networks=2) as hosts:
        assert [host.addresses for host in hosts] == [(f"198.18.0.{n}", f"198.18.1.{n}") for n in (1, 2, 3)]
        for sender in hosts:
            for receiver in hosts:
                for address in receiver.addresses:
                    with closing(bound(sender, 0)) as source, closing(bound(receiver)) as sink:
                        assert passes(source, sink, address), (sender, receiver, address)


def test_a_host_has_a_link_local_ipv6_address_at_once(hosts: testing.Hosts) -> None:
    listed = hosts[0].call(lambda: Path("/proc/thread-self/net/if_inet6").read_text())
    assert [line for line in listed.splitlines() if line.startswith("fe80") and line.endswith("eth0")]


def test_this_host_reaches_none_of_them(hosts: testing.Hosts) -> None:
    with closing(bound(hosts[0])) as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        assert not passes(source, sink, hosts[0].address, timeout_s=0.2)


def test_multicast_passes(hosts: testing.Hosts) -> None:
    with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
        membership = socket.inet_aton(GROUP) + socket.inet_aton(hosts[1].address)
        sink.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        assert passes(source, sink, GROUP)


def test_a_cut_cable_carries_nothing_until_it_is_mended(hosts: testing.Hosts) -> None:
    with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
        assert passes(source, sink, hosts[1].address)
        hosts.cut(hosts[1])
        assert not passes(source, sink, hosts[1].address, timeout_s=0.2)
        hosts.mend(hosts[1])
        assert passes(source, sink, hosts[1].address)


def test_a_cut_takes_the_carrier_away(hosts: testing.Hosts) -> None:
    def carrier() -> str:
        show = ["ip", "-n", hosts[0].namespace, "-o", "link", "show", "eth0"]
        return subprocess.run(show, check=True, capture_output=True, text=True).stdout

    assert "LOWER_UP" in carrier()
    hosts.cut(hosts[0])
    wait_until(lambda: "LOWER_UP" not in carrier())


def test_only_one_of_two_networks_is_cut() -> None:
    with testing.Hosts(2, networks=2) as hosts:
        hosts.cut(hosts[1], network=0)
        with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
            assert passes(source, sink, hosts[1].addresses[1])
            assert not passes(source, sink, hosts[1].addresses[0], timeout_s=0.2)


@pytest.mark.parametrize("impaired", [False, True])
def test_mtu(hosts: testing.Hosts, impaired: bool) -> None:
    forwarder = hosts.impair() if impaired else None
    hosts.set_mtu(9000)
    with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
        source.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: never fragment
        source.sendto(bytes(8972), (hosts[1].address, PORT))
        assert len(sink.recv(1 << 16)) == 8972
        with pytest.raises(OSError, match="too long"):
            source.sendto(bytes(8973), (hosts[1].address, PORT))
    if forwarder is not None:
        assert forwarder.statistics().from_host.unsent == 0


def test_an_mtu_that_the_kernel_refuses(hosts: testing.Hosts) -> None:
    with pytest.raises(OSError, match="an MTU of 10 bytes on h1-0"):
        hosts.set_mtu(10)


# ---- one cable ----------------------------------------------------------------------------------------------------


def test_two_hosts_may_be_connected_directly() -> None:
    with testing.Hosts(2, networks=2, direct=True) as hosts:
        assert hosts[0].call(lambda: [name for _, name in socket.if_nameindex()]) == ["lo", "eth0", "eth1"]
        for sender, receiver in itertools.permutations(hosts):
            for address in receiver.addresses:
                with closing(bound(sender, 0)) as source, closing(bound(receiver)) as sink:
                    assert passes(source, sink, address), (sender, receiver, address)
        with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
            membership = socket.inet_aton(GROUP) + socket.inet_aton(hosts[1].address)
            sink.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            assert passes(source, sink, GROUP)
            for cut in hosts:
                hosts.cut(cut)
                assert not passes(source, sink, hosts[1].address, timeout_s=0.2)
                assert passes(source, sink, hosts[1].addresses[1])
                hosts.mend(cut)
                assert passes(source, sink, hosts[1].address)
            assert passes(source, sink, GROUP)
            hosts.set_mtu(9000)
            source.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: never fragment
            source.sendto(bytes(8972), (hosts[1].address, PORT))
            drain(sink)
            with pytest.raises(OSError, match="too long"):
                source.sendto(bytes(8973), (hosts[1].address, PORT))


def test_a_direct_cable_has_two_ends_and_no_place_for_a_forwarder() -> None:
    with pytest.raises(ValueError, match="two ends, and there are 3 hosts"):
        testing.Hosts(3, direct=True)
    with testing.Hosts(2, direct=True) as hosts, pytest.raises(errors.LunarError, match="no place for a forwarder"):
        hosts.impair()


# ---- programs ----------------------------------------------------------------------------------------------------


def test_a_program_runs_on_its_host_with_a_runtime_directory_of_its_own(hosts: testing.Hosts) -> None:
    text = "import os, socket; print(os.environ['LUNAR_RUNTIME_DIR'], os.environ['X'], socket.if_nameindex())"
    program = hosts[1].start([sys.executable, "-c", text], environment={"X": "1"}, stdout=subprocess.PIPE)
    shown = program.communicate(timeout=20)[0].decode()
    assert shown.startswith(f"{hosts[1].runtime_dir} 1 ")
    assert "'eth0'" in shown
    assert hosts[0].runtime_dir != hosts[1].runtime_dir
    assert hosts[0].runtime_dir.stat().st_mode & 0o777 == 0o700


def test_the_shell_command_runs_there(hosts: testing.Hosts) -> None:
    shown = subprocess.run(
        f"{hosts[1].shell_command()} sh -c 'echo $LUNAR_RUNTIME_DIR; ip -br -4 addr show eth0'",
        shell=True,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert str(hosts[1].runtime_dir) in shown
    assert hosts[1].address in shown


def test_a_child_answers_calls_from_its_host(hosts: testing.Hosts) -> None:
    with hosts[1].child(CHILD) as child:
        assert child.call("interfaces") == ["lo", "eth0"]
        assert child.call("runtime_dir") == str(hosts[1].runtime_dir)


def test_a_program_that_still_runs_is_killed_with_the_lab() -> None:
    with testing.Hosts(1) as hosts:
        program = hosts[0].start([sys.executable, "-c", "import time; time.sleep(1000)"])
        child = hosts[0].child(CHILD)
    assert program.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{child.pid}").exists()


# ---- bad cables --------------------------------------------------------------------------------------------------


def flood(hosts: testing.Hosts, forwarder: testing.Forwarder, count: int = 2000) -> list[int]:
    """Sends numbered packets from the first host to the second one, and returns those that came, as they came."""
    with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
        before = forwarder.statistics().from_host
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})  # the kernel queues packets for each core: a move would reorder them
        try:
            for number in range(count):
                source.sendto(number.to_bytes(4, "little"), (hosts[1].address, PORT))
        finally:
            os.sched_setaffinity(0, cores)
        # Sent is delivered: veth, bridge and the socket's queue all work in the sender's own call.
        wait_until(lambda: settled(forwarder.statistics().from_host) == count + settled(before))
        return [int.from_bytes(packet, "little") for packet in drain(sink)]


def settled(line: testing.LineStatistics) -> int:
    """How many packets that came in are no longer under way."""
    return line.lost + line.dropped + line.sent + line.unsent - line.duplicated


def test_a_forwarder_without_a_fault_loses_nothing(hosts: testing.Hosts) -> None:
    with hosts.impair() as forwarder:
        assert flood(hosts, forwarder) == list(range(2000))
        done = forwarder.statistics()
    assert (done.from_host.packets, done.from_host.sent, done.from_host.overrun) == (2000, 2000, 0)
    assert forwarder.statistics().from_host.sent == 2000  # also afterwards


def test_losses_are_counted_right(hosts: testing.Hosts) -> None:
    with hosts.impair(testing.Impairment(loss=0.2), seed=1) as forwarder:
        got = flood(hosts, forwarder)
        done = forwarder.statistics().from_host
    assert (done.packets, done.lost, done.sent) == (2000, 2000 - len(got), len(got))
    assert 330 < done.lost < 470  # 20 %, within four standard deviations
    assert got == sorted(got)


def test_losses_are_the_same_for_the_same_seed(hosts: testing.Hosts) -> None:
    runs = []
    for seed in (1, 1, 2):
        with hosts.impair(testing.Impairment(loss=0.2, duplicate=0.1), seed=seed) as forwarder:
            runs.append(flood(hosts, forwarder))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_duplicates_and_overtaken_packets_are_counted_right(hosts: testing.Hosts) -> None:
    with hosts.impair(testing.Impairment(duplicate=0.1, reorder=0.1), seed=1) as forwarder:
        got = flood(hosts, forwarder)
        done = forwarder.statistics().from_host
    assert set(got) == set(range(2000))
    assert done.duplicated == len(got) - 2000 > 100
    first = list(dict.fromkeys(got))
    assert done.reordered == sum(b < a for a, b in itertools.pairwise(first)) > 100


def test_a_delay_is_in_both_directions(hosts: testing.Hosts) -> None:
    with (
        hosts.impair(testing.Impairment(delay_s=0.02)),
        closing(bound(hosts[0])) as near,
        closing(bound(hosts[1])) as far,
    ):
        begun = time.monotonic()
        assert passes(near, far, hosts[1].address)
        assert passes(far, near, hosts[0].address)
        assert time.monotonic() - begun >= 0.04


def test_tcp_passes_whole_through_a_bad_cable(hosts: testing.Hosts) -> None:
    """Segments that a network card would cut and sum must be whole on the way."""
    payload = os.urandom(1 << 20)

    def listen() -> socket.socket:
        return socket.create_server((hosts[1].address, PORT))

    with closing(hosts[1].call(listen)) as listener, hosts.impair(testing.Impairment(loss=0.005)) as forwarder:
        text = (
            "import socket, sys; s = socket.create_connection((sys.argv[1], 9000)); "
            "s.sendall(sys.stdin.buffer.read()); s.close()"
        )
        program = hosts[0].start([sys.executable, "-c", text, hosts[1].address], stdin=subprocess.PIPE)
        assert program.stdin is not None
        program.stdin.write(payload)
        program.stdin.close()
        connection = listener.accept()[0]
        with closing(connection):
            got = b"".join(iter(partial(connection.recv, 1 << 16), b""))
        assert got == payload
        assert program.wait(20) == 0
        done = forwarder.statistics()
    assert done.from_host.packets > len(payload) // 1500
    assert done.from_host.unsent == done.to_host.unsent == 0


def test_only_the_impaired_cable_is_bad() -> None:
    with testing.Hosts(3) as hosts:
        forwarder = hosts.impair(testing.Impairment(loss=1.0), host=hosts[2])
        with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as good, closing(bound(hosts[2])) as bad:
            assert passes(source, good, hosts[1].address)
            assert not passes(source, bad, hosts[2].address, timeout_s=0.2)
            assert forwarder.mend().to_host.lost == 1
            assert passes(source, bad, hosts[2].address)


def test_a_cable_is_impaired_once(hosts: testing.Hosts) -> None:
    with hosts.impair(), pytest.raises(errors.LunarError, match="h1 in network 0 is impaired already"):
        hosts.impair()
    with hosts.impair(), hosts.impair(host=hosts[1]) as second:
        assert flood(hosts, second, 0) == []


def test_a_cable_may_be_mended_in_either_order(hosts: testing.Hosts) -> None:
    with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
        with hosts.impair():
            hosts.cut(hosts[0])
            assert not passes(source, sink, hosts[1].address, timeout_s=0.1)
        hosts.mend(hosts[0])
        assert passes(source, sink, hosts[1].address)
        with hosts.impair() as forwarder:
            hosts.cut(hosts[0])
            hosts.mend(hosts[0])
            assert passes(source, sink, hosts[1].address)
            assert forwarder.statistics().from_host.sent >= 1
        hosts.impair()
        hosts.cut(hosts[0])


def test_a_forwarder_that_was_killed_is_mended(hosts: testing.Hosts) -> None:
    forwarder = hosts.impair()
    os.kill(forwarder.pid, signal.SIGKILL)
    with pytest.raises(testing.ChildFailed):
        forwarder.statistics()
    forwarder.mend()
    with closing(bound(hosts[0], 0)) as source, closing(bound(hosts[1])) as sink:
        assert passes(source, sink, hosts[1].address)


# ---- what is left ------------------------------------------------------------------------------------------------


def test_an_exception_leaves_nothing() -> None:
    def fail() -> None:
        with testing.Hosts(2) as hosts:
            hosts.impair()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_a_lab_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no address today")

    monkeypatch.setattr(links, "add_address", fail)
    with pytest.raises(OSError, match="no address today"):
        testing.Hosts(2)


def test_closing_twice_does_nothing() -> None:
    hosts = testing.Hosts(1)
    hosts.close()
    hosts.close()


def test_two_labs_at_once_do_not_meet(hosts: testing.Hosts) -> None:
    with testing.Hosts(1) as other:
        assert testing.remove_leftovers() == []
        with closing(bound(other[0], 0)) as source, closing(bound(hosts[1])) as sink:
            assert not passes(source, sink, hosts[1].address, timeout_s=0.2)


def test_what_a_killed_owner_left_is_removed_by_the_next_lab() -> None:
    with testing.Child(CHILD) as owner:
        made = owner.call("make_lab")
        assert isinstance(made, dict)
        left = set(made["namespaces"])
        assert left <= set(namespaces.names())
        owner.kill()
    wait_until(lambda: not Path(f"/proc/{made['forwarder']}").exists())  # it ends by itself
    assert left <= set(namespaces.names())
    with testing.Hosts(1):
        assert not left & set(namespaces.names())
    assert not Path(made["folder"]).exists()


def test_of_others_nothing_is_removed() -> None:
    names = [f"lunar-{os.getpid()}-x", "lunar-robot", "other-99999999-x"]
    for name in names:
        namespaces.create(name)
    try:
        assert testing.remove_leftovers() == []
        assert set(names) <= set(namespaces.names())
    finally:
        for name in names:
            namespaces.remove(name)


def test_without_the_privilege_a_lab_says_why() -> None:
    # Imported first: an unprivileged user may be unable to read what this one installed.
    text = (
        "import os, pyroute2; from lunar import testing; os.setuid(65534)\n"
        "print(testing.lab_unavailable(), flush=True); testing.Hosts()"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("network namespaces need root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): ")
    assert f"LunarError: no lab of hosts: {done.stdout.strip()}" in done.stderr


@pytest.mark.parametrize(("count", "networks"), [(0, 1), (251, 1), (1, 0)])
def test_a_number_out_of_range(count: int, networks: int) -> None:
    with pytest.raises(ValueError, match=f"{count} hosts in {networks} networks"):
        testing.Hosts(count, networks=networks)


# ---- by hand -----------------------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, running; its scripts are in ``tmp_path / "hosts"``."""
    options = ["--count", "2", "--loss", "1", "--scripts", str(tmp_path / "hosts")]
    command = [sys.executable, "-m", "lunar.testing.lab", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.terminate()  # and not killed: it has to remove its lab


def test_the_command_makes_a_lab_whose_scripts_run_on_its_hosts(by_hand: subprocess.Popen[str], tmp_path: Path) -> None:
    assert by_hand.stdout is not None
    scripts = tmp_path / "hosts"
    lines = iter(by_hand.stdout.readline, "")
    shown = [next(lines)]
    while "Ctrl-C" not in shown[-1]:
        shown.append(next(lines))
    assert shown[0].split() == ["h1", "198.18.0.1", str(scripts / "h1")]
    addresses = ["ip", "-br", "-4", "addr", "show", "eth0"]
    for number in (1, 2):
        script = scripts / f"h{number}"
        assert f"198.18.0.{number}/24" in subprocess.check_output([script, *addresses], text=True)
    send = "import socket; socket.socket(2, 2).sendto(b'', ('198.18.0.2', 9))"
    subprocess.check_call([scripts / "h1", sys.executable, "-c", send])
    by_hand.send_signal(signal.SIGINT)
    rest = list(lines)
    assert by_hand.wait(20) == 0
    assert any("lost=1" in line for line in rest)
    assert not scripts.exists()


def test_the_command_refuses_wrong_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lab.main(["--loss", "2"])
    assert ended.value.code == 2
    assert "loss is a share from 0 to 1, not 2.0" in capsys.readouterr().err
