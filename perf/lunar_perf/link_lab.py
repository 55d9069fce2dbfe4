"""The hosts that a comparison over a link runs on: network namespaces, and how a process of theirs is set up."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from lunar import testing
from lunar.testing.namespaces import path_of
from lunar_perf.side import HERE, INTERFACE, NAMESPACE, Server, Side
from lunar_perf.work import Work

T = TypeVar("T")
Range = Literal["host", "network"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the interfaces of all hosts have sent so far.

    Attributes:
        packets: how many.
        size_bytes: in all, with the headers of the link.
    """

    packets: int
    size_bytes: int

    def since(self, before: Traffic) -> Traffic:
        """What was added."""
        return Traffic(self.packets - before.packets, self.size_bytes - before.size_bytes)


class LinkLab:
    """A lab of hosts, and the settings that Lunar has there.

    Args:
        hosts: the lab.
        folder: for settings and keys; made by the caller, and removed by it.
    """

    def __init__(self, hosts: testing.Hosts, folder: Path) -> None:
        self.hosts = hosts
        self._plain, self._encrypted = folder / "plain.toml", folder / "curve.toml"
        keys = folder / "keys"
        self._plain.write_text("[transport.zmq]\ncurve = false\n")
        self._encrypted.write_text(f'[transport.zmq]\ncurve = true\nkeys = "{keys}"\n')
        self._keys = keys

    def side(self, index: int, range_: Range = "network", *, curve: bool = False) -> Side:
        """A process on one of the hosts.

        Args:
            index: which host.
            range_: how far its nodes are seen.
            curve: whether the transport zmq encrypts; all hosts then have the same keys.
        """
        host = self.hosts[index]
        if curve and not self._keys.exists():
            _make_keys(self._keys)
        environment = {
            **host.settings,
            NAMESPACE: str(path_of(host.namespace)),
            INTERFACE: host.interfaces[0],
            "LUNAR_RANGE": range_,
            "LUNAR_CONFIG": str(self._encrypted if curve else self._plain),
        }
        return Side(host.name, host.address, environment)

    def sides(self, *, curve: bool = False) -> tuple[Side, Side]:
        """A process on each of the first two hosts."""
        return self.side(0, curve=curve), self.side(1, curve=curve)

    def traffic(self) -> Traffic:
        """What the hosts have sent to each other so far; what they say to themselves is not counted."""
        sent = [host.call(partial(sent_by, host.interfaces[0])) for host in self.hosts]
        return Traffic(sum(each.packets for each in sent), sum(each.size_bytes for each in sent))


def sent_by(interface: str) -> Traffic:
    """What an interface of the calling thread's network has sent; proc(5), /proc/net/dev.

    Raises:
        OSError: there is no such interface.
    """
    # Of this thread: /proc/net would be that of the main one. /sys shows the network of whoever mounted it.
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == interface:
            columns = fields.split()
            return Traffic(int(columns[9]), int(columns[8]))
    raise OSError(f"no interface {interface}")


def _make_keys(directory: Path) -> None:
    # As `lunar keys` makes them; a transport's own modules are loaded by entry point only.
    import zmq

    directory.mkdir(mode=0o700)
    _, secret = zmq.curve_keypair()
    path = directory / "secret.key"
    path.touch(mode=0o600)
    path.write_text(secret.decode() + "\n")


@contextmanager
def open_lab(count: int = 2) -> Iterator[LinkLab]:
    """A lab that ends with the block. Two hosts are connected by one veth pair, more by a bridge.

    Raises:
        lunar.LunarError: it cannot be made; the text says why.
    """
    folder = Path(tempfile.mkdtemp(prefix="lunar-perf-lab-"))
    try:
        with testing.Hosts(count, direct=count == 2) as hosts:
            yield LinkLab(hosts, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_on(measure: Callable[[tuple[Side, Side]], T], work: Work, server: Server | None = None) -> T:
    """Measure where the work says.

    With a server that is between this host and its own. Without one it is between two hosts of a lab, without CURVE, if
    the work names a transport between hosts, and else within this host.

    Raises:
        lunar.LunarError: there can be no lab here; the text says why.
    """
    if server is not None:
        return measure((HERE, Side(server.host, server=server)))
    if not work.transport:
        return measure((HERE, HERE))
    with open_lab(2) as lab:
        return measure(lab.sides())
