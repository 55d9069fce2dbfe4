"""Settings and addresses: what is wrong is named."""

import sys
from pathlib import Path

import pytest
from lunar_zmq import Transport
from lunar_zmq.settings import (
    Address,
    Settings,
    default_key_directory,
    places_of,
    read_address,
    read_settings,
    seen_from,
)

from lunar import abc
from lunar.errors import ConfigError, PeerFault, TransportUnavailable

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
GOOD = {"version": 1, "endpoints": ["tcp://127.0.0.1:4711"], "key": KEY, "epoch": "0123456789abcdef"}


def test_tcp_encrypts_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = read_settings({})
    assert settings.curve
    assert settings.keys == tmp_path / "lunar" / "keys"
    assert not read_settings({"curve": False}).curve
    assert not read_settings({"transport": "ipc", "directory": "/run/x"}).curve


def test_a_relative_configuration_home_does_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_key_directory() == Path("/home/somebody/.config/lunar/keys")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"curv": False}, "curv"),
        ({"curve": 1}, "curve"),
        ({"transport": "udp"}, "transport"),
        ({"transport": "ipc"}, "directory"),
        ({"transport": "ipc", "directory": "here"}, "directory"),
        ({"directory": "/run/x"}, "directory"),
        ({"keys": 5}, "keys"),
        ({"allowed": KEY}, "allowed"),
        ({"allowed": ["short"]}, "allowed"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"heartbeat_s": True}, "heartbeat_s"),
    ],
)
def test_what_cannot_be_used_is_named(settings: dict[str, object], named: str):
    with pytest.raises(ConfigError, match=rf"zmq\.{named}"):
        read_settings(settings)


def test_a_good_address_is_read():
    address = read_address(GOOD, Settings())
    assert address.endpoints == ("tcp://127.0.0.1:4711",)
    assert address.epoch == 0x0123456789ABCDEF


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": "x" * 10_000},
        {"endpoints": []},
        {"endpoints": "tcp://127.0.0.1:1"},
        {"endpoints": ["tcp://127.0.0.1:1"] * 17},
        {"endpoints": [5]},
        {"endpoints": ["tcp://127.0.0.1"]},
        {"endpoints": ["ipc:///tmp/x"]},
        {"endpoints": ["inproc://zeromq.zap.01"]},
        {"endpoints": ["tcp://" + "a" * 300 + ":1"]},
        {"key": ""},
        {"key": 5},
        {"key": "short"},
        {"epoch": None},
        {"epoch": "g" * 16},
    ],
)
def test_an_address_that_cannot_be_understood_is_the_peers_fault(change: dict[str, object]):
    with pytest.raises(PeerFault) as fault:
        read_address(GOOD | change, Settings())
    assert len(str(fault.value)) < 300


def test_what_the_transport_says_of_itself():
    transport = Transport()
    assert transport.name == "zmq"
    assert transport.capabilities.reliable
    assert transport.capabilities.reach == "network"
    assert transport.probe().ok


def test_without_pyzmq_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "zmq", None)
    probe = Transport().probe()
    assert not probe.ok
    assert "lunar-mom[zmq]" in probe.remedy
    with pytest.raises(TransportUnavailable):
        Transport().open(abc.Site("a1" * 16, 0, ("127.0.0.1",), ("lo",), {"curve": False}))


def test_it_says_that_it_encrypts_only_if_it_does() -> None:
    transport = Transport()
    assert transport.capabilities.encrypted
    assert transport.capabilities_under({}).encrypted
    assert not transport.capabilities_under({"curve": False}).encrypted
    assert not transport.capabilities_under({"transport": "ipc", "directory": "/tmp"}).encrypted
    with pytest.raises(ConfigError):
        transport.capabilities_under({"curl": False})


def test_a_link_local_address_is_reached_through_an_interface_of_this_host() -> None:
    address = Address(("tcp://[fe80::1%theirs]:5000", "tcp://127.0.0.1:6000"), "", 1)
    assert seen_from(address, ("eth0", "wlan0.7")).endpoints == (
        "tcp://[fe80::1%eth0]:5000",
        "tcp://[fe80::1%wlan0.7]:5000",
        "tcp://127.0.0.1:6000",
    )
    assert len(seen_from(address, [f"eth{number}" for number in range(40)]).endpoints) == 16


def test_places_are_read_from_endpoints() -> None:
    address = Address(("tcp://127.0.0.1:5000", "tcp://[fe80::1]:6000", "ipc:///tmp/x"), "", 1)
    assert places_of(address) == [("127.0.0.1", 5000), ("fe80::1", 6000)]
