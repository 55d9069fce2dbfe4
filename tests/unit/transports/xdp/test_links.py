"""What a netlink message says of an interface, and what this host's loopback interface is."""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest
from lunar_xdp.links import Link, Links, Program, read_link
from lunar_xdp.netlink import GENERIC, NetlinkSocket, attribute, read_messages

UP_AND_RUNNING, UP, NOARP = 0x41, 0x01, 0x80
MAC = bytes.fromhex("020000000001")


def message(
    *more: bytes, flags: int = UP_AND_RUNNING, hardware: int = 1, family: int = socket.AF_UNSPEC, kind: bytes = b""
) -> bytes:
    described = attribute(18, attribute(1, kind + b"\0")) if kind else b""
    named = attribute(3, b"eth0\0") + attribute(1, MAC) + attribute(4, struct.pack("=I", 1500))
    return struct.pack("=BxHiII", family, hardware, 7, flags, 0) + named + described + b"".join(more)


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def vlan(protocol: bytes = b"\x81\x00") -> bytes:
    data = attribute(1, struct.pack("=H", 42)) + attribute(5, protocol)
    return attribute(18, attribute(1, b"vlan\0") + attribute(2, data)) + number(5, 3)


def read(*more: bytes, **settings) -> Link:
    link = read_link(message(*more, **settings))
    assert link is not None
    return link


def test_a_network_card():
    link = read(number(32, 8))
    assert (link.name, link.index, link.mac, link.mtu, link.queues) == ("eth0", 7, MAC, 1500, 8)
    assert (link.up, link.running, link.loopback, link.resolves) == (True, True, False, True)
    assert (link.kind, link.vlan, link.parent, link.programs) == ("", 0, 0, ())


def test_up_is_not_running():
    assert not read(flags=UP).running
    assert not read(flags=0).up
    assert not read(flags=0x40).running


def test_only_ethernet_with_arp_has_neighbours_to_resolve():
    assert not read(flags=UP_AND_RUNNING | NOARP).resolves
    tunnel = read(hardware=65534)
    assert (tunnel.mac, tunnel.resolves) == (b"", False)


def test_a_vlan_has_a_parent_and_an_id():
    link = read(vlan())
    assert (link.kind, link.vlan, link.parent) == ("vlan", 42, 3)


def test_a_tag_that_is_not_a_customers_is_none():
    assert (read(vlan(b"\x88\xa8")).vlan, read(vlan(b"\x88\xa8")).parent) == (0, 0)


def test_a_parent_in_another_namespace_cannot_be_used():
    assert read(vlan(), number(37, 0)).parent == 0


def test_a_veths_other_end_is_no_parent():
    link = read(number(5, 3), kind=b"veth")
    assert (link.kind, link.parent) == ("veth", 0)


@pytest.mark.parametrize(("mode", "name"), [(1, "native"), (2, "generic"), (3, "offloaded")])
def test_a_program_is_told_with_its_mode(mode: int, name: str):
    xdp = attribute(0x8000 | 43, attribute(2, bytes([mode])) + number(4, 12))
    assert [(each.id, each.mode) for each in read(xdp).programs] == [(12, name)]


def test_several_programs_are_told_each():
    xdp = attribute(43, attribute(2, b"\4") + number(5, 12) + number(7, 13))
    assert read(xdp).programs == (Program(12, "native"), Program(13, "offloaded"))


def test_no_program_is_told_as_such():
    assert read(attribute(43, attribute(2, b"\0"))).programs == ()


def test_a_bridges_view_of_its_port_is_no_link():
    assert read_link(message(family=socket.AF_BRIDGE)) is None
    assert read_link(message()[:15]) is None


# ---- of this host --------------------------------------------------------------------------------------------------


@pytest.fixture
def links() -> Iterator[Links]:
    with closing(Links()) as links:
        yield links


def test_the_loopback_interface(links: Links):
    link = links.link("lo")
    assert link == links.link(link.index)
    assert (link.loopback, link.resolves, link.mac) == (True, False, b"")
    device = links.device("lo")
    assert (device.link, device.vlan) == (link, 0)
    assert device.rx_queues >= 1


@pytest.mark.parametrize("which", ["nothing-like-it", "", "x" * 16, "ü" * 8, 0x7FFFFFFF])
def test_an_interface_that_is_not_there(links: Links, which: str | int):
    with pytest.raises(OSError, match=r"device|name") as caught:
        links.link(which)
    assert caught.value.errno == errno.ENODEV


def test_a_vlan_is_below_itself_if_two_tags_were_needed(links: Links, monkeypatch: pytest.MonkeyPatch):
    inner, outer, card = read(vlan()), read(vlan()), read()
    monkeypatch.setattr(links, "link", lambda which: outer)
    assert links.below(inner) == (inner, 0)
    monkeypatch.setattr(links, "link", lambda which: card)
    assert links.below(inner) == (card, 42)


def test_a_kernel_that_does_not_tell_what_drivers_do(monkeypatch: pytest.MonkeyPatch):
    def refuse_generic(protocol: int = socket.NETLINK_ROUTE) -> NetlinkSocket:
        if protocol == GENERIC:
            raise OSError(errno.EPROTONOSUPPORT, "no such protocol")
        return NetlinkSocket(protocol)

    monkeypatch.setattr("lunar_xdp.links.NetlinkSocket", refuse_generic)
    with closing(Links()) as links:
        device = links.device("lo")
    assert (device.native, device.zero_copy, device.multi_buffer) == (None, None, None)


def test_a_vlan_as_another_library_writes_it():
    """The kernel that the tests run on need not have VLANs."""
    ifinfmsg = pytest.importorskip("pyroute2.netlink.rtnl.ifinfmsg", reason="pyroute2 is not installed").ifinfmsg
    data = {"attrs": [("IFLA_VLAN_ID", 42), ("IFLA_VLAN_PROTOCOL", 0x8100)]}
    info = {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", data)]}
    links = [("IFLA_IFNAME", "eth0.42"), ("IFLA_MTU", 1400), ("IFLA_LINK", 3), ("IFLA_LINKINFO", info)]
    written = ifinfmsg()
    written.setvalue({"index": 7, "flags": 1, "ifi_type": 1, "attrs": links})
    written.encode()
    (read_back,) = read_messages(bytes(written.data))
    link = read_link(read_back.body)
    assert link is not None
    assert (link.name, link.mtu, link.kind, link.vlan, link.parent) == ("eth0.42", 1400, "vlan", 42, 3)
