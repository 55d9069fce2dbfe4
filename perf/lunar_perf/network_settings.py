"""How a process of a run between two machines takes part in the network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from lunar.config import Config
from lunar.interfaces import usable


def network_environment(config: Config, domain: int, other_address: str) -> Mapping[str, str]:
    """The variables that put a measured process into the network; all else is as this process has it.

    Args:
        config: this process's settings.
        domain: the run's domain.
        other_address: where the other host was reached: it is looked for there too, in case multicast does not reach.

    Raises:
        ConfigError: no interface can be used, or not the one that is wanted.
    """
    peers = list(config.peers)
    peer = peer_address(other_address, [each.address for each in usable(config.interfaces)])
    if peer and peer not in peers:
        peers.append(peer)
    return {"LUNAR_RANGE": "network", "LUNAR_DOMAIN": str(domain), "LUNAR_PEERS": ",".join(peers)}


def peer_address(other: str, own: Sequence[str]) -> str:
    """The address to look for the other host at, or nothing if it is none that our interfaces can look at.

    Args:
        other: an address of the other host, numeric.
        own: the addresses of the interfaces in use.
    """
    if "%" in other:
        return ""  # the scope is this host's own, and multicast reaches as far
    address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(other)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    # Discovery is of one family. On the loopback interface it looks at its own address by itself.
    families = {ipaddress.ip_address(each.partition("%")[0]).version for each in own}
    return str(address) if families == {address.version} and not address.is_loopback else ""
