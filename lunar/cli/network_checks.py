"""What `lunar doctor` checks of the network: interfaces, peers, discovery, and the transports between hosts.

Within range `host` nothing is opened; it says what range `network` would use.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from lunar.abc import HasKeys, Site
from lunar.cli.diagnosis import Check, Examination
from lunar.cli.quantities import plural
from lunar.config import Config
from lunar.errors import ConfigError, LunarError, TransportUnavailable
from lunar.graph.network.census import take_census
from lunar.graph.network.presence import host_key
from lunar.graph.network.surroundings import load_transports, surroundings_of
from lunar.interfaces import Interface, interfaces, usable

if TYPE_CHECKING:
    from lunar.abc import NetworkTransport
    from lunar.graph.network.presence import Surroundings
    from lunar.graph.network.remote import RemoteProcess

_LISTEN_S = 1.0
_TURN_ON = "set LUNAR_RANGE=network"


def check_network(config: Config | None = None) -> Iterator[Check]:
    """Checks what this host has for range `network`, and tries it if that is the range.

    Args:
        config: The settings; by default those of this process, and nothing at all if those are not valid.
    """
    try:
        config = Config.from_environment() if config is None else config
    except ConfigError:
        return  # the check of the settings tells of it
    on = config.range == "network"
    if on:
        yield Check("network", "ok", f"on, domain {config.domain}")
    else:
        yield Check("network", "ok", f"off, no socket leaves this host; to turn it on {_TURN_ON}; what it would use:")
    chosen = yield from _check_interfaces(config, on=on)
    yield from _check_peers(config, chosen)
    yield from _check_transports(config, chosen if on else ())
    if on and chosen:
        yield from _check_discovery(config)


def _check_interfaces(config: Config, *, on: bool) -> Generator[Check, None, tuple[Interface, ...]]:
    """Yields a line for each interface to be used and one for the others; returns the former."""
    try:
        chosen = usable(config.interfaces)
    except ConfigError as error:
        found = ", ".join(f"{each.name} {each.address}".strip() for each in interfaces())
        remedy = f"give LUNAR_INTERFACES {error.allowed}"
        yield Check("interfaces", "failed" if on else "warning", f"none can be used of: {found or 'none'}", remedy)
        return ()
    for each in chosen:
        yield Check(f"interface {each.name}", "ok", f"{each.address}, {'' if each.multicast else 'no '}multicast")
    left = {each.name: each for each in interfaces() if each.name not in {used.name for used in chosen}}
    if left:
        yield Check("other interfaces", "ok", "; ".join(f"{name}: {_why_not(each)}" for name, each in left.items()))
    return chosen


def _why_not(interface: Interface) -> str:
    if interface.loopback:
        return "loopback"
    if not interface.up:
        return "down, or without a carrier"
    return "not in LUNAR_INTERFACES" if interface.address else "without an address"


def _check_peers(config: Config, chosen: tuple[Interface, ...]) -> Iterator[Check]:
    for peer in config.peers:
        try:
            found = {str(each[4][0]) for each in socket.getaddrinfo(peer, None, proto=socket.IPPROTO_UDP)}
        except OSError as error:
            yield Check(
                f"peer {peer}", "warning", f"has no address: {error}", "correct LUNAR_PEERS, or the name service"
            )
            continue
        yield Check(f"peer {peer}", "ok", ", ".join(sorted(found)))
    if chosen and not config.peers and not any(each.multicast for each in chosen):
        remedy = "set LUNAR_PEERS to the other hosts' addresses"
        yield Check("peers", "warning", "no interface has multicast, and no peers are named: nobody is found", remedy)


def _check_transports(config: Config, opened_on: tuple[Interface, ...]) -> Iterator[Check]:
    """Yields a line for each transport between hosts; opens them on those interfaces, if there are any."""
    found, missing = load_transports()
    usable_ones = 0
    for transport in found:
        settings = dict(config.transport_settings.get(transport.name, {}))
        name = f"transport {transport.name}"
        try:
            can = transport.capabilities_under(settings)
            keys = _describe_keys(transport, settings)
            remark = _try(transport, config, opened_on, settings) if opened_on else ""
        except (LunarError, OSError) as error:
            yield _unused(name, error, on=config.range == "network")
            continue
        if can.kernel_bypass:
            rank = "for profiles that ask for the fast datapath"
        else:
            rank = "preferred" if not usable_ones else "for what those above do not carry"
            usable_ones += 1
        traits = [trait for trait in ("reliable", "multicast", "encrypted") if getattr(can, trait)]
        if not can.encrypted:
            traits.append("not encrypted")
        said = [rank, *traits, *([keys] if keys else []), *([remark] if remark else [])]
        yield Check(name, "ok", ", ".join(said))
    for missing_name, reason in missing.items():
        yield _unused(f"transport {missing_name}", reason, on=config.range == "network")
    if not usable_ones and config.range == "network":
        yield Check("transports", "failed", "none between hosts can be used", "pip install 'lunar-mom[dds]'")


def _describe_keys(transport: NetworkTransport, settings: Mapping[str, object]) -> str | None:
    """What to say of a transport's keys; "" if they are turned off, None if it has none."""
    if not isinstance(transport, HasKeys):
        return None
    ring = transport.key_ring(settings)
    return f"key {ring.public()}, {plural(len(ring.allowed()), 'other')} allowed" if ring.required else ""


def _try(
    transport: NetworkTransport, config: Config, chosen: tuple[Interface, ...], settings: dict[str, object]
) -> str:
    """Opens a transport and closes it again; returns what it remarks."""
    addresses, names = tuple(each.address for each in chosen), tuple(each.name for each in chosen)
    engine = transport.open(Site(uuid4().hex, config.domain, addresses, names, settings))
    try:
        return engine.remark
    finally:
        engine.close()


def _unused(name: str, error: Exception | str, *, on: bool) -> Check:
    if isinstance(error, TransportUnavailable):
        text, remedy = error.reason, error.remedy
    else:
        text, remedy = str(error), _remedy(error)
    if on:
        return Check(name, "warning", f"not used: {text}", remedy)
    return Check(name, "ok", f"would not be used: {text}; {remedy}")


def _remedy(error: Exception | str) -> str:
    return f"correct {error.variable}" if isinstance(error, ConfigError) else "repair what it names"


def _check_discovery(config: Config) -> Iterator[Check]:
    """Yields what is found of other hosts, and what is ready here and cannot be used there."""
    name = "discovery"
    remedy = "is LUNAR_RANGE=network and the same LUNAR_DOMAIN set there? else name the hosts in LUNAR_PEERS"
    try:
        surroundings = surroundings_of(config)
        if surroundings is None:
            return
        own = host_key(config) if os.path.isdir(config.runtime_dir) else ""
        met = take_census(config, surroundings, own, _LISTEN_S)
    except TransportUnavailable as error:
        yield Check(name, "failed", error.reason, error.remedy)
        return
    except LunarError as error:
        yield Check(name, "failed", str(error), _remedy(error))
        return
    if not met:
        yield Check(name, "warning", f"no process of another host within {_LISTEN_S:g} s", remedy)
        return
    hosts = Counter(process.host for process in met)
    text = ", ".join(f"{host} ({count})" for host, count in sorted(hosts.items()))
    met_text = plural(len(met), "process", "processes")
    yield Check(name, "ok", f"{met_text} of other hosts within {_LISTEN_S:g} s: {text}")
    yield from _check_what_others_have(surroundings, met)


def _check_what_others_have(surroundings: Surroundings, met: list[RemoteProcess]) -> Iterator[Check]:
    for transport, settings in surroundings.transports:
        try:
            can = transport.capabilities_under(settings)
            _describe_keys(transport, settings)
        except (LunarError, OSError):
            continue  # not ready here either, which the check of the transport tells
        lacking: dict[tuple[str, str], int] = Counter(
            (process.host, info.missing)
            for process in met
            for info in process.transports
            if info.name == transport.name and info.missing
        )
        for (host, reason), count in sorted(lacking.items()):
            text = f"{plural(count, 'process cannot', 'processes cannot')} use it: {reason}"
            if can.encrypted:
                text += "; what goes there over another transport may not be encrypted"
            yield Check(f"transport {transport.name} on {host}", "warning", text, "repair that there")


EXAMINATIONS: tuple[tuple[str, Examination], ...] = (("network", check_network),)
"""The examinations of this module, in the order of their report."""
