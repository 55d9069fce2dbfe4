"""Settings and addresses: what is wrong is named, and nothing hostile gets through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_xdp.settings import (
    LARGEST_MESSAGE_BYTES,
    MAX_ENDPOINTS,
    Address,
    Endpoint,
    Settings,
    announce,
    read_address,
    read_settings,
)

from lunar.errors import ConfigError, PeerFault

ENDPOINT = {"address": "10.0.0.2", "port": 4711, "mtu": 1500, "backend": "af_xdp", "mac": "02:00:00:00:00:01"}
GOOD = {"version": 1, "epoch": "0123456789abcdef", "key": "00112233445566778899aabbccddeeff", "endpoints": [ENDPOINT]}


def with_endpoint(**change: object) -> dict[str, object]:
    return {**GOOD, "endpoints": [{**ENDPOINT, **change}]}


def test_nothing_need_be_said():
    assert read_settings({}) == Settings()


def test_everything_can_be_said():
    said = {
        "port": 4711,
        "backend": "udp",
        "mode": "generic",
        "queues": [2, 0],
        "window": 128,
        "largest_message_bytes": "1M",
    }
    assert read_settings(said) == Settings(4711, "udp", "generic", (2, 0), 128, 1 << 20)
    assert read_settings({"queues": "auto", "largest_message_bytes": 2048}).largest_message_bytes == 2048


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prot", 1),
        ("port", -1),
        ("port", 65536),
        ("port", True),
        ("port", "80"),
        ("backend", "xdp"),
        ("backend", None),
        ("backend", ["udp"]),
        ("mode", "driver"),
        ("queues", []),
        ("queues", "0"),
        ("queues", 0),
        ("queues", [0, 0]),
        ("queues", [-1]),
        ("queues", [True]),
        ("queues", [65536]),
        ("queues", list(range(65))),
        ("window", 63),
        ("window", 65536),
        ("window", 100),
        ("window", 1.5),
        ("largest_message_bytes", 1023),
        ("largest_message_bytes", LARGEST_MESSAGE_BYTES + 1),
        ("largest_message_bytes", "65M"),
        ("largest_message_bytes", "1 M"),
        ("largest_message_bytes", "9" * 5000),
        ("largest_message_bytes", True),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: object):
    with pytest.raises(ConfigError, match=rf"xdp\.{name}"):
        read_settings({name: value})


def test_what_is_announced_is_read():
    address = read_address(GOOD)
    assert address.epoch == 0x0123456789ABCDEF
    assert address.key.hex() == GOOD["key"]
    assert address.endpoints == (Endpoint("10.0.0.2", 4711, 1500, "af_xdp", "02:00:00:00:00:01"),)
    assert announce(address) == GOOD
    assert read_address({**GOOD, "later": "unknown"}) == address


def test_the_largest_address_has_less_than_4_kib():
    endpoint = Endpoint(":".join(["2ffe"] * 8), 65535, 65535, "af_xdp", "fe:ff:ff:ff:ff:ff")
    address = Address((1 << 64) - 1, bytes(16), (endpoint,) * MAX_ENDPOINTS)
    text = json.dumps(announce(address))
    assert len(text) < 4096
    assert read_address(json.loads(text)) == address


def test_an_address_is_announced_without_its_scope_and_in_its_shortest_form():
    address = Address(0, bytes(16), (Endpoint("FE80:0::1%eth0", 1, 1280, "udp"),))
    assert read_address(announce(address)).endpoints == (Endpoint("fe80::1", 1, 1280, "udp"),)


@pytest.mark.parametrize(
    "address",
    [
        {},
        {**GOOD, "version": 2},
        {**GOOD, "version": True},
        {**GOOD, "version": "1" * 10_000},
        {**GOOD, "epoch": "0123456789ABCDEF"},
        {**GOOD, "epoch": "0123456789abcde"},
        {**GOOD, "epoch": "0123456789abcdef\n"},
        {**GOOD, "epoch": 5},
        {**GOOD, "key": "00" * 15},
        {**GOOD, "key": "00" * 17},
        {**GOOD, "key": None},
        {**GOOD, "endpoints": []},
        {**GOOD, "endpoints": {}},
        {**GOOD, "endpoints": [5]},
        {**GOOD, "endpoints": [[]]},
        {**GOOD, "endpoints": [ENDPOINT] * 17},
        with_endpoint(address="host"),
        with_endpoint(address=0x0A000002),
        with_endpoint(address=True),
        with_endpoint(address="10.0.0.2/24"),
        with_endpoint(address="010.0.0.2"),
        with_endpoint(address="fe80::1%eth0"),
        with_endpoint(address="1" * 10_000),
        with_endpoint(address="0.0.0.0"),
        with_endpoint(address="255.255.255.255"),
        with_endpoint(address="239.255.0.1"),
        with_endpoint(address="::"),
        with_endpoint(address="ff02::1"),
        with_endpoint(address="::ffff:10.0.0.2"),
        with_endpoint(port=0),
        with_endpoint(port=65536),
        with_endpoint(port=True),
        with_endpoint(port="4711"),
        with_endpoint(mtu=67),
        with_endpoint(mtu=65536),
        with_endpoint(mtu=1500.0),
        with_endpoint(address="2001:db8::1", mtu=1279),
        with_endpoint(backend="tcp"),
        with_endpoint(backend=None),
        with_endpoint(backend=["udp"]),
        with_endpoint(mac=None),
        with_endpoint(mac="02:00:00:00:00"),
        with_endpoint(mac="02:00:00:00:00:0G"),
        with_endpoint(mac="00:00:00:00:00:00"),
        with_endpoint(mac="ff:ff:ff:ff:ff:ff"),
        with_endpoint(mac="01:00:5e:00:00:01"),
    ],
)
def test_a_hostile_address_is_the_peers_fault_and_told_in_few_words(address: dict[str, object]):
    with pytest.raises(PeerFault) as caught:
        read_address(address)
    assert len(str(caught.value)) < 200


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
names = st.sampled_from([*GOOD, *ENDPOINT])
json_values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(names, scalars, max_size=3)


@given(st.dictionaries(names, json_values, max_size=5), st.booleans())
def test_whatever_is_announced_is_read_or_refused(garbage: dict[str, Any], mostly_good: bool):
    address = {**GOOD, **garbage} if mostly_good else garbage
    try:
        read = read_address(address)
    except PeerFault:
        return
    assert read_address(announce(read)) == read


@given(st.dictionaries(st.sampled_from(list(ENDPOINT)), json_values, max_size=3))
def test_whatever_endpoint_is_announced_is_read_or_refused(garbage: dict[str, Any]):
    try:
        read = read_address(with_endpoint(**garbage))
    except PeerFault:
        return
    assert read_address(announce(read)) == read
