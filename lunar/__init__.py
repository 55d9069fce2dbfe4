"""Lunar: ROS 2-style publish/subscribe for Python, asyncio-native and zero-copy.

Who may import whom (arrows point down, and a linter checks it):

    cli, runtime
    node, publisher, subscription, loop      what the user holds
    events, graph, selection                 who is there, and what serves whom
    testing, abc                             the contract of a transport
    config, messages, names, qos, statistics
    _native                                  the C core
    errors
"""

from typing import TYPE_CHECKING

from lunar import events, messages, qos
from lunar._native._bus import MessageLoan, Sample, SampleInfo
from lunar._version import __version__
from lunar.errors import (
    ClosedError,
    ConfigError,
    ContractDenied,
    FieldError,
    InvalidName,
    LunarError,
    PeerFault,
    QoSError,
    ResourceExhausted,
    SchemaError,
    TimeoutError,  # noqa: A004 - it is a builtins.TimeoutError as well
    TransportUnavailable,
    TypeMismatch,
    VerificationError,
    WouldBlock,
)
from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo
from lunar.graph.membership import graph_snapshot
from lunar.loop import EventLoop, new_event_loop, run
from lunar.messages import Message
from lunar.node import Node
from lunar.publisher import MessagePublisher, Publisher
from lunar.qos import QoS
from lunar.statistics import PublisherStatistics, SubscriptionStatistics
from lunar.subscription import Subscription

if TYPE_CHECKING:
    from lunar.messages.declaring import message
    from lunar.messages.fields import (
        Array,
        field,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
        uint16,
        uint32,
        uint64,
    )

__all__ = [
    # Running
    "EventLoop",
    "new_event_loop",
    "run",
    # Publishing and subscribing
    "MessageLoan",
    "MessagePublisher",
    "Node",
    "Publisher",
    "QoS",
    "Sample",
    "SampleInfo",
    "Subscription",
    "events",
    "qos",
    # Messages
    "Array",
    "Message",
    "field",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "message",
    "messages",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    # Looking
    "EndpointInfo",
    "GraphSnapshot",
    "NodeInfo",
    "PublisherStatistics",
    "SubscriptionStatistics",
    "graph_snapshot",
    # Errors
    "ClosedError",
    "ConfigError",
    "ContractDenied",
    "FieldError",
    "InvalidName",
    "LunarError",
    "PeerFault",
    "QoSError",
    "ResourceExhausted",
    "SchemaError",
    "TimeoutError",
    "TransportUnavailable",
    "TypeMismatch",
    "VerificationError",
    "WouldBlock",
    # Version
    "__version__",
]

_DECLARING = frozenset(__all__[__all__.index("Array") : __all__.index("EndpointInfo")]) - {"Message", "messages"}


def __getattr__(name: str) -> object:
    # What only those need who declare message classes is imported when they do.
    if name not in _DECLARING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lunar.messages import declaring, fields

    found: object = getattr(declaring if name == "message" else fields, name)
    globals()[name] = found
    return found
