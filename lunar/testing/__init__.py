"""The test kit: what Lunar's own tests stand on, for tests of programs that use Lunar and of transports.

Nothing here imports a test framework, so it works with any of them::

    from lunar import events, testing

    with testing.isolated():                       # a runtime directory that nobody else sees
        async with lunar.Node("tested") as node, testing.collect(node, events.SamplesLost) as lost:
            ...
            assert lost.events == []
"""

from lunar.testing import conformance
from lunar.testing.child import Child, ChildFailed, serve
from lunar.testing.collector import Collector, HasEvents, collect
from lunar.testing.forwarder import Forwarder, ForwarderStatistics
from lunar.testing.hosts import Host, Hosts, lab_unavailable, remove_leftovers
from lunar.testing.impairment import Impairment, LineStatistics
from lunar.testing.isolation import isolated
from lunar.testing.memory import MemoryDiscovery, MemoryTransport
from lunar.testing.payload import NUMBERED_BYTES, numbered, read_number

__all__ = [
    # Surroundings
    "isolated",
    # Watching
    "Collector",
    "HasEvents",
    "collect",
    # Other processes
    "Child",
    "ChildFailed",
    "serve",
    # Other hosts
    "MemoryDiscovery",
    "MemoryTransport",
    "Forwarder",
    "ForwarderStatistics",
    "Host",
    "Hosts",
    "Impairment",
    "LineStatistics",
    "lab_unavailable",
    "remove_leftovers",
    # Transports
    "conformance",
    # Messages
    "NUMBERED_BYTES",
    "numbered",
    "read_number",
]
