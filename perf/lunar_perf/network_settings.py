"""How a process of a run between two machines takes part in the network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from lunar.config import Config


def network_environment(config: Config, domain: int, other_address: str) -> Mapping[str, str]:
    """The variables that put a measured process into the network; all else is as this process has it.

    Args:
        config: this process's settings.
        domain: the run's domain.
        other_address: where the other host was reached: looked for there too, where multicast does not reach.
    """
    peers = list(config.peers)
    if _is_usable(other_address) and other_address not in peers:
        peers.append(other_address)
    return {"LUNAR_RANGE": "network", "LUNAR_DOMAIN": str(domain), "LUNAR_PEERS": ",".join(peers)}


def _is_usable(address: str) -> bool:
    try:
        # Within one host the transports find each other by themselves; a scope means nothing to a peer's setting.
        return "%" not in address and not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
