"""The transport before it has a stream."""

import os
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lunar_dds import Transport
from lunar_dds.domains import Setup

from lunar import abc
from lunar.errors import ConfigError, PeerFault
from lunar.qos import QoS

pytest.importorskip("cyclonedds", reason="the extra dds is not installed")

ID = "0a" * 16


def site(**settings: object) -> abc.Site:
    return abc.Site(ID, 20 + os.getpid() % 200, ("127.0.0.1",), ("lo",), settings)


def test_it_says_what_it_is() -> None:
    transport = Transport()
    assert transport.name == "dds"
    assert transport.probe() == abc.Probe(True)
    assert transport.capabilities.reliable
    assert transport.capabilities.reach == "network"


def test_an_engine_without_a_stream_uses_no_network() -> None:
    sockets = len(os.listdir("/proc/self/fd"))
    engine = Transport().open(site())
    try:
        assert len(os.listdir("/proc/self/fd")) == sockets + 1  # what it waits on
        assert engine.address == {"participant": ID}
        assert engine.work() is None
    finally:
        engine.close()
        engine.close()
    assert len(os.listdir("/proc/self/fd")) == sockets


@pytest.mark.parametrize(
    "settings",
    [
        {"colour": 1},
        {"peers": "127.0.0.1"},
        {"peers": ["here"]},
        {"peers": ["127.0.0.1'/><x y='"]},
        {"multicast": 1},
        {"lease_s": 0},
        {"lease_s": True},
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Transport().open(site(**settings))


@pytest.mark.parametrize("address", [{}, {"participant": 1}, {"participant": "0c" * 16}, {"participant": "x" * 32}])
def test_an_address_that_is_not_that_process_s_is_refused(address: dict[str, Any]) -> None:
    engine = Transport().open(site())
    remote = "x" * 32 if address.get("participant") == "x" * 32 else "0b" * 16
    try:
        with pytest.raises(PeerFault):
            engine.open_outgoing(abc.Stream("f1" * 16, "/t", QoS(), True, remote, address), None)  # type: ignore[arg-type]
    finally:
        engine.close()


def test_the_setup_is_well_formed_whatever_an_address_holds() -> None:
    peer = "a'\"</Peers>&b"
    tree = ET.fromstring(Setup(("127.0.0.1",), (peer,), multicast=False).xml())
    assert [each.get("Address") for each in tree.iter("Peer")] == [peer, "127.0.0.1"]
    assert [each.text for each in tree.iter("AllowMulticast")] == ["false"]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_what_is_sent_again_fits_into_a_packet_of_ethernet(address: str) -> None:
    tree = ET.fromstring(Setup((address,)).xml())
    (fragment,) = (each.text for each in tree.iter("FragmentSize"))
    assert fragment is not None
    ethernet_bytes, ipv6_and_udp_bytes, rtps_bytes = 1500, 40 + 8, 100
    assert int(fragment.removesuffix("B")) <= ethernet_bytes - ipv6_and_udp_bytes - rtps_bytes


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
def test_a_datagram_is_not_longer_than_udp_allows(address: str) -> None:
    tree = ET.fromstring(Setup((address,)).xml())
    (datagram,) = (each.text for each in tree.iter("MaxMessageSize"))
    assert datagram is not None
    assert int(datagram.removesuffix("B")) <= 65535 - 20 - 8
