"""What interfaces offer to AF_XDP, in a lab: queues, native mode, and who is there already."""

import ctypes
import os
import platform
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from lunar_xdp.links import Device, Links

from lunar import testing
from lunar.testing import namespaces

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

# Puts 2, which is XDP_PASS, into register 0, and ends.
PASS_ALL = bytes.fromhex("b700000002000000 9500000000000000")
BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine())


@pytest.fixture(autouse=True)
def nothing_is_left(no_leaks: Callable[[], list[str]]) -> Iterator[None]:
    yield
    assert [name for name in namespaces.names() if name.startswith(f"lunar-{os.getpid()}-")] == []


@pytest.fixture
def host() -> Iterator[testing.Host]:
    with testing.Hosts(2, direct=True) as hosts:
        yield hosts[0]


def look(which: str) -> Device:
    with closing(Links()) as links:
        return links.device(which)


def add_link(name: str, **settings: object) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("add", ifname=name, **settings)


def attach(name: str, program: int, flags: int) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        index = socket.if_nametoindex(name)
        netlink.link("set", index=index, xdp={"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", flags)]})


def load() -> int:
    """Loads a program that passes everything, and returns its descriptor."""
    if BPF is None:
        pytest.skip(f"the number of bpf(2) on {platform.machine()} is not known here")
    code, terms = ctypes.create_string_buffer(PASS_ALL), ctypes.create_string_buffer(b"GPL")
    asked = struct.pack("=IIQQ", 6, 2, ctypes.addressof(code), ctypes.addressof(terms)) + bytes(96)
    libc = ctypes.CDLL(None, use_errno=True)
    program = libc.syscall(BPF, 5, ctypes.create_string_buffer(asked), len(asked))
    if program < 0:
        pytest.skip(f"this process may not load an XDP program: {os.strerror(ctypes.get_errno())}")
    return int(program)


def test_a_veth(host: testing.Host):
    device = host.call(lambda: look("eth0"))
    assert (device.link.name, device.link.kind, device.driver, device.vlan) == ("eth0", "veth", "veth", 0)
    assert device.link.programs == ()
    assert device.native is not False  # None before Linux 6.3
    assert device.zero_copy is not True


def test_queues_in_use_count_not_those_that_could_be(host: testing.Host):
    host.call(lambda: add_link("many", kind="veth", peer={"ifname": "far", "num_rx_queues": 2}, num_rx_queues=4))
    assert host.call(lambda: look("many")).link.queues == 4
    assert host.call(lambda: look("many")).rx_queues in (1, 4)  # in use: Linux chooses by the cores


def test_a_bridge_has_no_native_mode(host: testing.Host):
    host.call(lambda: add_link("bridge", kind="bridge"))
    device = host.call(lambda: look("bridge"))
    assert (device.link.kind, device.driver) == ("bridge", "bridge")
    assert device.native is not True


@pytest.mark.parametrize(("flags", "mode"), [(1 << 1, "generic"), (1 << 2, "native")])
def test_a_program_that_is_there_is_told(host: testing.Host, flags: int, mode: str):
    program = load()
    try:
        host.call(lambda: attach("eth0", program, flags))
    finally:
        os.close(program)
    (there,) = host.call(lambda: look("eth0")).link.programs
    assert (there.mode, there.id > 0) == (mode, True)
