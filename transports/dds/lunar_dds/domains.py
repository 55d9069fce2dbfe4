"""Participants of a DDS domain, and how the domain is set up: from what a process says, never from the environment."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from lunar.abc import Site, require_descriptors
from lunar.errors import ConfigError, LunarError, TransportUnavailable
from lunar_dds.cyclone import INFINITE_NS, check, ffi, library
from lunar_dds.kinds import Kind, descriptor

__all__ = ["DEFAULT_LEASE_S", "Participant", "Setup", "join"]

DEFAULT_LEASE_S: Final = 10.0

_PRECONDITION_NOT_MET: Final = -4
# The library crashes when it has none left. It keeps about ten.
_NEEDED_TO_START: Final = 32

# A sample goes out in the longest datagrams that UDP has, which IP cuts up: a system call for each packet would take
# three times as long. What is lost of one is the whole datagram, so what is asked for again has to be shorter:
# fragments of DDS that each fit into a packet of Ethernet, with all headers. Whole datagrams would be lost again and
# again, all the more since Linux keeps what has come of a lost one for 30 s, and takes no others in once that is 4 MiB.
_DATAGRAM_BYTES: Final = 65500
_LARGE_FRAGMENT_BYTES: Final = 65000
_ETHERNET_FRAGMENT_BYTES: Final = 1344

# As much as the system gives, up to a quarter of a stream's window; less is no error.
_RECEIVE_BUFFER: Final = "<SocketReceiveBufferSize max='4MB'/>"
# By default a gap that was told of is told again after 100 ms only, and of a sample that is missing as a whole one
# fragment is sent again, the others when they are asked for.
_REPAIR: Final = (
    "<NackDelay>10ms</NackDelay>"
    "<BurstSize><MaxFragsRexmitSample>1000</MaxFragsRexmitSample></BurstSize>"
    "<MaxQueuedRexmitBytes>8MB</MaxQueuedRexmitBytes><MaxQueuedRexmitMessages>8000</MaxQueuedRexmitMessages>"
)


@dataclass(frozen=True, slots=True)
class Setup:
    """How a process takes part in a domain.

    Attributes:
        addresses: Of the interfaces to be used.
        peers: Addresses to look for others at, besides multicast.
        multicast: Whether to use multicast where the interfaces have it.
    """

    addresses: tuple[str, ...]
    peers: tuple[str, ...] = ()
    multicast: bool = True

    def xml(self) -> str:
        """The same as Cyclone's configuration."""
        interfaces = "".join(
            f"<NetworkInterface {_which(each)} priority={quoteattr(str(-rank))}/>"
            for rank, each in enumerate(self.addresses)
        )
        found = [ipaddress.ip_address(each) for each in self.addresses]
        # Loopback has no multicast: who uses that is found at its own address.
        peers = [*self.peers, *(str(each) for each in found if each.is_loopback)]
        fragment = _LARGE_FRAGMENT_BYTES if all(each.is_loopback for each in found) else _ETHERNET_FRAGMENT_BYTES
        return (
            "<CycloneDDS><Domain Id='any'><General>"
            f"<Interfaces>{interfaces}</Interfaces>"
            f"<AllowMulticast>{'default' if self.multicast else 'false'}</AllowMulticast>"
            f"{'<Transport>udp6</Transport>' if any(each.version == 6 for each in found) else ''}"
            f"<MaxMessageSize>{_DATAGRAM_BYTES}B</MaxMessageSize><FragmentSize>{fragment}B</FragmentSize>"
            "</General><Discovery><ParticipantIndex>auto</ParticipantIndex>"
            "<MaxAutoParticipantIndex>119</MaxAutoParticipantIndex>"
            f"<Peers>{''.join(f'<Peer Address={quoteattr(each)}/>' for each in peers)}</Peers></Discovery>"
            "<Internal><RediscoveryBlacklistDuration enforce='false'>5s</RediscoveryBlacklistDuration>"
            "<WriterLingerDuration>100ms</WriterLingerDuration>"
            "<Watermarks><WhcHigh>64MB</WhcHigh><WhcHighInit>4MB</WhcHighInit></Watermarks>"
            f"{_RECEIVE_BUFFER}{_REPAIR}</Internal>"
            "<Tracing><Verbosity>none</Verbosity></Tracing></Domain></CycloneDDS>"
        )


def _which(address: str) -> str:
    # Cyclone does not understand a link-local address with its interface, and without it means that of any.
    scope = address.partition("%")[2]
    return f"name={quoteattr(scope)}" if scope else f"address={quoteattr(address)}"


class _Domain:
    """A domain of this process, shared by its participants."""

    def __init__(self, number: int, setup: Setup) -> None:
        self.number, self.setup, self.users = number, setup, 0
        require_descriptors(_NEEDED_TO_START, f"setting up DDS domain {number}")
        code = library().dds_create_domain(number, setup.xml().encode())
        if code == _PRECONDITION_NOT_MET:
            reason = f"this process has set up DDS domain {number} already, outside of Lunar"
            raise TransportUnavailable("dds", reason, "choose another LUNAR_DOMAIN")
        try:
            self.entity = check(code, f"set up DDS domain {number}")
        except LunarError as error:
            reason = f"{error}; the addresses are {', '.join(setup.addresses)}"
            raise TransportUnavailable("dds", reason, "look whether they are of interfaces that are up") from error


_lock = threading.Lock()
_domains: dict[int, _Domain] = {}
_participants: dict[str, Participant] = {}


def join(site: Site, setup: Setup | None = None, lease_s: float = DEFAULT_LEASE_S) -> Participant:
    """Makes a process's participant, or shares the one that is there.

    Args:
        site: The process.
        setup: How to take part; None: as the domain is set up already, else by the site's addresses alone.
        lease_s: How long after its last sign of life the others take it for gone; of the first call.

    Raises:
        TransportUnavailable: DDS cannot run here.
        ConfigError: This process takes part in the domain in another way already.
        ResourceExhausted: A limit was reached.
    """
    with _lock:
        known = _domains.get(site.domain)
        if known is None:
            known = _Domain(site.domain, setup or Setup(site.addresses))
            _domains[site.domain] = known
        elif setup is not None and setup != known.setup:
            raise ConfigError("the network", setup, f"what this process uses in domain {site.domain}: {known.setup}")
        participant = _participants.get(site.participant_id)
        try:
            if participant is None:
                participant = Participant(site, known, lease_s)
                _participants[site.participant_id] = participant
        finally:
            _drop_unused(known)
        participant.users += 1
        return participant


def _drop_unused(domain: _Domain) -> None:
    if not domain.users and _domains.get(domain.number) is domain:
        del _domains[domain.number]
        library().dds_delete(domain.entity)


class Participant:
    """A process in a domain; shared by its users, each of which calls `leave` once.

    Attributes:
        entity: Its handle.
        participant_id: Whose it is; its endpoints carry that as user data.
    """

    def __init__(self, site: Site, domain: _Domain, lease_s: float) -> None:
        self.participant_id = site.participant_id
        self.users = 0
        self._domain = domain
        self._topics: dict[tuple[str, Kind], int] = {}
        lib = library()
        qos = lib.dds_create_qos()
        lib.dds_qset_liveliness(qos, 0, min(int(lease_s * 1e9), INFINITE_NS))
        identity = site.participant_id.encode()
        lib.dds_qset_userdata(qos, identity, len(identity))
        entity = lib.dds_create_participant(site.domain, qos, ffi.NULL)
        lib.dds_delete_qos(qos)
        self.entity = check(entity, f"join DDS domain {site.domain}")
        domain.users += 1

    def topic(self, name: str, kind: Kind) -> int:
        """The handle of a topic."""
        known = self._topics.get((name, kind))
        if known is None:
            made = library().dds_create_topic(self.entity, descriptor(kind), name.encode(), ffi.NULL, ffi.NULL)
            known = self._topics[name, kind] = check(made, f"make the DDS topic {name}")
        return known

    def leave(self) -> None:
        """Ends one use of it; the last one deletes it with all that is its."""
        with _lock:
            self.users -= 1
            if self.users == 0:
                _participants.pop(self.participant_id, None)
                library().dds_delete(self.entity)
                self._domain.users -= 1
                _drop_unused(self._domain)
