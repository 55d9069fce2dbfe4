"""What a process takes part in a network with: found by entry points; one of several that is broken is never fatal."""

from __future__ import annotations

import errno
import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, cast

from lunar.errors import TransportUnavailable, from_errno
from lunar.graph.network.presence import Surroundings
from lunar.interfaces import usable

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

    from lunar.abc import Discovery, NetworkTransport, Site
    from lunar.config import Config

__all__ = ["TRANSPORTS", "load_transports", "surroundings_of"]

_log = logging.getLogger("lunar")

TRANSPORTS: Final = "lunar.network_transports"
"""The entry-point group of transports between hosts."""

_DISCOVERY: Final = "lunar.discovery"
# After so long without a sign of life a process is taken for gone.
_LEASE_S: Final = 3.0
# Of those that can serve a match equally well; unknown ones come after these.
_PREFERRED: Final = ("xdp", "zmq", "dds")


def surroundings_of(config: Config) -> Surroundings | None:
    """What a participant takes part in a network with; None if its range is the host.

    Raises:
        ConfigError: No interface can be used.
        ResourceExhausted: A limit was reached.
        TransportUnavailable: There is no discovery.
    """
    if config.range == "host":
        return None
    try:
        interfaces = usable(config.interfaces)
    except OSError as error:
        raise from_errno(-(error.errno or errno.EIO), "listing the network interfaces") from error
    found, missing = load_transports()
    transports = tuple((each, dict(config.transport_settings.get(each.name, {}))) for each in found)
    return Surroundings(
        addresses=tuple(each.address for each in interfaces),
        interfaces=tuple(each.name for each in interfaces),
        discovery=_discovery(config),
        transports=transports,
        missing=missing,
    )


def load_transports() -> tuple[list[NetworkTransport], dict[str, str]]:
    """The transports between hosts that can run here, the preferred ones first, and why the others cannot."""
    found: list[NetworkTransport] = []
    missing: dict[str, str] = {}
    for point in sorted(entry_points(group=TRANSPORTS), key=_preference):
        try:
            transport = cast("NetworkTransport", point.load()())
            probe = transport.probe()
        except Exception as error:  # noqa: BLE001 - it is somebody else's code, and one of several
            missing[point.name] = f"it cannot be loaded: {type(error).__name__}: {error}"
            continue
        if probe.ok:
            found.append(transport)
        else:
            missing[point.name] = f"{probe.reason}; {probe.remedy}"
    return found, missing


def _preference(point: EntryPoint) -> tuple[int, str]:
    return (_PREFERRED.index(point.name) if point.name in _PREFERRED else len(_PREFERRED), point.name)


def _discovery(config: Config) -> Callable[[Site], Discovery]:
    for point in entry_points(group=_DISCOVERY):
        try:
            made = cast("Callable[[Site, float, tuple[str, ...]], Discovery]", point.load())
        except ImportError as error:
            raise TransportUnavailable("discovery", str(error), "pip install 'lunar-mom[dds]'") from error
        return lambda site: made(site, _LEASE_S, config.peers)
    raise TransportUnavailable("discovery", "nothing that finds other hosts is installed", "reinstall lunar-mom")
