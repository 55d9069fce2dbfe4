"""A lab of hosts on this one: network namespaces with a bridge between them. Needs root and pyroute2.

    with testing.Hosts(3) as hosts:
        listener = hosts[0].start(["lunar", "topic", "echo", "chatter"])
        hosts.cut(hosts[0])

Each host has a network of its own and a runtime directory of its own, so processes of different hosts meet over the
network or not at all. Everything else (files, users, processes, the clock) is this host's.

Namespaces are called `lunar-<pid>-<lab>-h1` and so on, after the process that made them. They go when the lab is
closed. What a killed owner left is removed by the next lab.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from lunar import errors
from lunar.testing import links, namespaces
from lunar.testing.child import Child
from lunar.testing.forwarder import Forwarder
from lunar.testing.impairment import Impairment

__all__ = ["Host", "Hosts", "lab_unavailable", "remove_leftovers"]

R = TypeVar("R")

MAX_HOSTS: Final = 250
_OWNED: Final = re.compile(r"lunar-(?:lab-)?([0-9]+)-")
_BRIDGE: Final = "bridge"
_numbers: Final = itertools.count(1)


class Host:
    """One host of a lab.

    Attributes:
        name: "h1", "h2" and so on.
        namespace: Name of its network namespace, for `ip -n` and the like.
        addresses: Its IPv4 address in each network.
        interfaces: The names of its interfaces, one a network: "eth0", "eth1".
        runtime_dir: Its `LUNAR_RUNTIME_DIR`.
    """

    def __init__(self, number: int, namespace: str, runtime_dir: Path, networks: int) -> None:
        self.name = f"h{number}"
        self.namespace = namespace
        self.addresses = tuple(f"198.18.{network}.{number}" for network in range(networks))  # RFC 2544: for tests
        self.interfaces = tuple(f"eth{network}" for network in range(networks))
        self.runtime_dir = runtime_dir
        self._started: list[subprocess.Popen[bytes]] = []
        self._children: list[Child] = []

    @property
    def address(self) -> str:
        """Its IPv4 address in the first network."""
        return self.addresses[0]

    def start(
        self,
        program: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a program on this host. It is killed when the lab is closed, if it still runs.

        Args:
            program: The program and its arguments.
            environment: Variables to set for it, beside this process's and the host's runtime directory.
            stdin: As for `subprocess.Popen`, likewise the others.
            stdout: Default: this process's.
            stderr: Default: this process's.

        Raises:
            OSError: It cannot be started.
        """
        settings = {**os.environ, **self.settings, **(environment or {})}
        process = self.call(lambda: subprocess.Popen(program, env=settings, stdin=stdin, stdout=stdout, stderr=stderr))
        self._started.append(process)
        return process

    def child(self, program: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Child:
        """Starts a program on this host that answers calls; see `Child`. It is closed with the lab at the latest."""
        settings = {**self.settings, **(environment or {})}
        child = self.call(lambda: Child(program, *arguments, environment=settings))
        self._children.append(child)
        return child

    def call(self, function: Callable[[], R]) -> R:
        """Calls a function in a thread on this host's network: a socket made there stays there. Blocks.

        Files and the environment are those of this process. Returns and raises what the function does.
        """
        return namespaces.call_in(self.namespace, function)

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that make a process one of this host's."""
        return {"LUNAR_RUNTIME_DIR": str(self.runtime_dir)}

    def shell_command(self) -> str:
        """What to write before a command in a shell so that it runs on this host."""
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.settings.items())
        return f"nsenter --net={namespaces.path_of(self.namespace)} env {settings}"

    def _close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for child in self._children:
            child.close()

    def __repr__(self) -> str:
        return f"<Host {self.name} at {', '.join(self.addresses)}>"


class Hosts:
    """Several hosts in one or more networks; a sequence of `Host`. Use it as a context manager, or call `close`.

    Args:
        count: How many hosts, 1 to 250.
        networks: How many networks connect them all; each host has an interface in each.
        direct: Of two hosts: a veth pair from the one to the other, and no bridge in between. That is faster, and
            has no place for `impair`.

    Raises:
        ValueError: A number is out of range, or more than two hosts are to be connected directly.
        LunarError: This process cannot make a lab; the text is that of `lab_unavailable`.
    """

    def __init__(self, count: int = 2, *, networks: int = 1, direct: bool = False) -> None:
        if direct and count != 2:
            raise ValueError(f"a cable has two ends, and there are {count} hosts")
        if not 1 <= count <= MAX_HOSTS or not 1 <= networks <= MAX_HOSTS:
            raise ValueError(f"{count} hosts in {networks} networks; each may be 1 to {MAX_HOSTS}")
        reason = lab_unavailable()
        if reason is not None:
            raise errors.LunarError(f"no lab of hosts: {reason}")
        remove_leftovers()
        self._prefix = f"lunar-{os.getpid()}-{next(_numbers)}-"
        self._switch = f"{self._prefix}switch"
        self._hosts: list[Host] = []
        self._impaired: dict[tuple[str, int], Forwarder] = {}
        self._cut: set[tuple[str, int]] = set()
        self._direct = direct
        self._closed = False
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix=f"lunar-lab-{os.getpid()}-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._create(self._switch, stack)
            for network in range(networks if not direct else 0):
                namespaces.call_in(self._switch, partial(links.add_bridge, f"{_BRIDGE}{network}"))
            for number in range(1, count + 1):
                self._add(number, folder, networks, stack)
            for network in range(networks):
                self._connect_all(network)
            for host in self._hosts:
                for network in range(networks):
                    self._wait_until_up(host, network)
            self._undo = stack.pop_all()

    def _create(self, namespace: str, stack: ExitStack) -> None:
        namespaces.create(namespace)
        stack.callback(namespaces.remove, namespace)
        namespaces.call_in(namespace, lambda: links.set_up("lo"))

    def _add(self, number: int, folder: Path, networks: int, stack: ExitStack) -> None:
        host = Host(number, f"{self._prefix}h{number}", folder / f"h{number}", networks)
        host.runtime_dir.mkdir(mode=0o700)
        self._create(host.namespace, stack)
        stack.callback(host._close)  # before its namespace goes
        host.call(links.skip_address_probing)
        self._hosts.append(host)

    def _connect_all(self, network: int) -> None:
        if self._direct:
            here, there = self._hosts
            here.call(lambda: links.add_cable(here.interfaces[network], there.interfaces[network], there.namespace))
        else:
            for host in self._hosts:
                namespaces.call_in(self._switch, partial(self._plug_in, host, network))
        for host in self._hosts:
            host.call(partial(_configure, host, network))

    @staticmethod
    def _plug_in(host: Host, network: int) -> None:
        port = _port(host, network)
        links.add_cable(port, host.interfaces[network], host.namespace)
        links.enslave(port, f"{_BRIDGE}{network}")
        links.set_up(port)

    def _set_cable(self, host: Host, network: int, *, up: bool) -> None:
        """Sets the other end of a host's cable up or down."""
        if self._direct:
            (other,) = (each for each in self._hosts if each is not host)
            other.call(lambda: _set_up_again(other, network) if up else links.set_up(other.interfaces[network], False))
        else:
            namespaces.call_in(self._switch, lambda: links.set_up(_port(host, network), up))

    def _wait_until_up(self, host: Host, network: int) -> None:
        if (host.name, network) in self._cut:
            return
        if self._direct:
            host.call(lambda: links.wait_until_up(host.interfaces[network]))
            return
        for link in (_port(host, network), *_detour(host, network)[: 2 * self._is_impaired(host, network)]):
            namespaces.call_in(self._switch, partial(links.wait_until_up, link))
        host.call(lambda: links.wait_until_up(host.interfaces[network]))

    def _is_impaired(self, host: Host, network: int) -> bool:
        return (host.name, network) in self._impaired

    def cut(self, host: Host, network: int = 0) -> None:
        """Pulls a host's cable: its interface loses the carrier, and nothing passes in either direction.

        On a direct cable the other host's interface goes down.
        """
        self._cut.add((host.name, network))
        self._set_cable(host, network, up=False)

    def mend(self, host: Host, network: int = 0) -> None:
        """Puts the cable back, and returns when it carries again."""
        self._cut.discard((host.name, network))
        self._set_cable(host, network, up=True)
        self._wait_until_up(host, network)

    def set_mtu(self, mtu_bytes: int, host: Host | None = None, network: int = 0) -> None:
        """Sets the longest IP packet that a network carries.

        Args:
            mtu_bytes: 68 to 65535; Ethernet's is 1500, which is the default. IPv6 needs 1280.
            host: Only this host's interface; None stands for the bridge and all hosts.
            network: Which network.

        Raises:
            OSError: The kernel refuses the size.
        """
        if host is not None:
            host.call(lambda: links.set_mtu(host.interfaces[network], mtu_bytes))
            return
        for each in self._hosts:
            inside = (_port(each, network), *_detour(each, network)[: 2 * self._is_impaired(each, network)])
            for link in inside if not self._direct else ():
                namespaces.call_in(self._switch, partial(links.set_mtu, link, mtu_bytes))
            each.call(partial(links.set_mtu, each.interfaces[network], mtu_bytes))
        if not self._direct:
            namespaces.call_in(self._switch, lambda: links.set_mtu(f"{_BRIDGE}{network}", mtu_bytes))

    def impair(
        self, impairment: Impairment | None = None, *, host: Host | None = None, network: int = 0, seed: int = 0
    ) -> Forwarder:
        """Makes a host's cable a bad one: it loses, repeats, reorders or delays packets, in both directions.

        A process of its own then carries the frames between the host and the bridge. `forwarder.mend()`, the end of
        a `with` block around it, or the end of the lab makes the cable a good one again.

        Args:
            impairment: What it does; None stands for nothing, which measures the forwarder itself.
            host: Whose cable; None stands for the first host's, which between two hosts is the only one.
            network: In which network.
            seed: The same seed gives the same packets of a direction the same fate.

        Raises:
            LunarError: This cable is impaired already, or leads directly to the other host.
        """
        if self._direct:
            raise errors.LunarError("a cable from host to host has no place for a forwarder; leave out direct=True")
        host = host or self._hosts[0]
        key = (host.name, network)
        if key in self._impaired:
            raise errors.LunarError(f"the cable of {host.name} in network {network} is impaired already")
        port, (inner, joint) = _port(host, network), _detour(host, network)

        def detour() -> None:
            links.add_cable(inner, joint)
            for link in (inner, joint):
                links.set_mtu(link, links.mtu_of(port))
                links.set_up(link)
            links.send_whole_frames(joint)

        def undo() -> None:
            self._impaired.pop(key, None)
            if not self._closed:  # else it goes with its namespace
                namespaces.call_in(self._switch, lambda: links.remove_link(inner))
                namespaces.call_in(self._switch, lambda: links.enslave(port, f"{_BRIDGE}{network}"))
                self._wait_until_up(host, network)

        namespaces.call_in(self._switch, detour)
        host.call(lambda: links.send_whole_frames(host.interfaces[network]))
        start = partial(Forwarder, port, inner, impairment or Impairment(), seed, undo)
        try:
            forwarder = self._impaired[key] = namespaces.call_in(self._switch, start)
        except BaseException:
            undo()
            raise
        namespaces.call_in(self._switch, lambda: links.enslave(port, None))
        namespaces.call_in(self._switch, lambda: links.enslave(joint, f"{_BRIDGE}{network}"))
        self._wait_until_up(host, network)
        return forwarder

    def close(self) -> None:
        """Ends what was started on the hosts, and removes them; a second call does nothing."""
        self._closed = True
        with self._undo:
            for forwarder in list(self._impaired.values()):
                forwarder.mend()

    def __getitem__(self, index: int) -> Host:
        return self._hosts[index]

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _configure(host: Host, network: int) -> None:
    link = host.interfaces[network]
    links.set_up(link)
    links.add_address(link, ipaddress.IPv4Interface(f"{host.addresses[network]}/24"), multicast=network == 0)


def _set_up_again(host: Host, network: int) -> None:
    links.set_up(host.interfaces[network])
    if network == 0:  # routes go with their link
        links.add_multicast_route(host.interfaces[network])


def _port(host: Host, network: int) -> str:
    """The bridge's end of a host's cable."""
    return f"{host.name}-{network}"


def _detour(host: Host, network: int) -> tuple[str, str]:
    """The two ends of the piece of cable between the forwarder and the bridge."""
    return f"{host.name}-{network}-fwd", f"{host.name}-{network}-br"


@cache
def lab_unavailable() -> str | None:
    """Tells why this process cannot make a lab, by trying; None if it can. The answer is kept."""
    try:
        import pyroute2  # noqa: F401 - only whether it is there
    except ImportError:
        return "pyroute2 is not installed; install lunar-mom[lab]"
    name = f"lunar-{os.getpid()}-0-probe"
    try:
        namespaces.create(name)
    except OSError as error:
        return f"network namespaces need root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): {error}"
    try:
        namespaces.call_in(name, lambda: links.add_bridge(f"{_BRIDGE}0"))
        namespaces.call_in(name, lambda: links.add_cable("near", "far"))
    except Exception as error:  # noqa: BLE001 - whatever pyroute2 raises: it is the answer
        return f"this kernel refuses a bridge or a veth pair: {error}"
    finally:
        namespaces.remove(name)
    return None


def remove_leftovers() -> list[str]:
    """Removes what labs left whose process was killed: namespaces and runtime directories, and nothing else.

    Returns:
        The names of what was removed. Their interfaces are gone; a program that still runs there keeps running, alone.

    Raises:
        OSError: This process may not do it.
    """
    removed = []
    for name in filter(_is_orphan, namespaces.names()):
        namespaces.remove(name)
        removed.append(name)
    for folder in Path(tempfile.gettempdir()).glob("lunar-lab-*"):
        # Whoever else may write to /tmp could have made one of that name.
        if _is_orphan(folder.name) and folder.lstat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return removed


def _is_orphan(name: str) -> bool:
    owner = _OWNED.match(name)
    return owner is not None and not Path(f"/proc/{owner[1]}").exists()
