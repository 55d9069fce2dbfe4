"""The contract that a transport implements.

A transport is a module that carries samples for matches. It is found by the entry-point group
`lunar.transports` and imported on first use, so one that is not needed costs nothing. One within a host is a
`Transport`; one between hosts is a `NetworkTransport`.
"""

from lunar.abc.capabilities import Capabilities, Probe, Reach
from lunar.abc.discovery import Discovery, News
from lunar.abc.host import Channel, MatchTerms, Offer, PublisherEnd, ReceiverEnd, Transport
from lunar.abc.keys import AllowedKey, HasKeys, KeyRing
from lunar.abc.limits import require_descriptors
from lunar.abc.network import (
    DirectOutgoing,
    Engine,
    Incoming,
    IncomingHandler,
    NetworkTransport,
    Outgoing,
    OutgoingHandler,
    Parcel,
    Site,
    Stream,
)

__all__ = [
    # Every transport
    "Capabilities",
    "Probe",
    "Reach",
    # Within a host
    "Channel",
    "MatchTerms",
    "Offer",
    "PublisherEnd",
    "ReceiverEnd",
    "Transport",
    # Between hosts
    "Discovery",
    "Engine",
    "Incoming",
    "IncomingHandler",
    "NetworkTransport",
    "News",
    "Outgoing",
    "OutgoingHandler",
    "Parcel",
    "Site",
    "Stream",
    # What a transport may use
    "require_descriptors",
    # What a transport may have beside
    "AllowedKey",
    "DirectOutgoing",
    "HasKeys",
    "KeyRing",
]
