"""Which interfaces a node uses, and what is said if there is none."""

import socket
from pathlib import Path

import pytest

from lunar.errors import ConfigError
from lunar.interfaces import Interface, interfaces, usable

LO = Interface("lo", "127.0.0.1", loopback=True)
ETH0 = Interface("eth0", "192.0.2.1")
ETH0_SECOND = Interface("eth0", "192.0.2.2")
ETH0_LOCAL = Interface("eth0", "fe80::1%eth0")
ETH1 = Interface("eth1", "2001:db8::1")
DOWN = Interface("eth2", "192.0.2.3", up=False)
BARE = Interface("eth3", "")
ALL = [LO, ETH0_LOCAL, ETH0, ETH0_SECOND, ETH1, DOWN, BARE]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ([], [ETH0, ETH1]),
        (["eth1", "eth0"], [ETH1, ETH0]),
        (["192.0.2.2"], [ETH0_SECOND]),
        (["fe80::1"], [ETH0_LOCAL]),
        (["fe80::1%eth0"], [ETH0_LOCAL]),
        (["lo"], [LO]),
        (["127.0.0.1"], [LO]),
    ],
)
def test_what_is_used(wanted: list[str], chosen: list[Interface]) -> None:
    assert usable(wanted, ALL) == tuple(chosen)


@pytest.mark.parametrize(
    ("wanted", "there", "tried"),
    [
        (
            [],
            [LO, DOWN, BARE],
            "lo (loopback, which is used only if it is the only one named), eth2 (down, or without a ",
        ),
        ([], [BARE], "eth3 (without an address)"),
        ([], [], "nothing, there are no interfaces"),
        (
            ["eth9"],
            ALL,
            "eth9 (there is no such interface or address); this host has lo 127.0.0.1, eth0 fe80::1%eth0, ",
        ),
        (["eth0", "eth2"], ALL, "eth2 (down, or without a carrier); this host has"),
        (["lo", "eth0"], ALL, "lo (loopback, which is used only if it is the only one named)"),
        (["eth3"], ALL, "eth3 (without an address)"),
        ([""], ALL, " (there is no such"),
    ],
)
def test_what_cannot_be_used_is_said_with_what_was_tried(wanted: list[str], there: list[Interface], tried: str) -> None:
    with pytest.raises(ConfigError) as caught:
        usable(wanted, there)
    assert caught.value.variable == "LUNAR_INTERFACES"
    assert caught.value.value == ",".join(wanted)
    assert caught.value.allowed.startswith(f"interfaces that are up and have an address; tried: {tried}")


def test_this_hosts_interfaces_are_those_that_the_kernel_lists() -> None:
    there = interfaces()
    assert {each.name for each in there} == {name for _, name in socket.if_nameindex()}
    assert Interface("lo", "127.0.0.1", up=True, loopback=True) in there
    listed = Path("/proc/net/if_inet6").read_text().splitlines() if Path("/proc/net/if_inet6").exists() else []
    assert len([each for each in there if ":" in each.address]) == len(listed)
    assert usable(["lo"])[0].address == "127.0.0.1"
