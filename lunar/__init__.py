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

from lunar import events, qos
from lunar._native._bus import Sample, SampleInfo
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
from lunar.node import Node
from lunar.publisher import Publisher
from lunar.qos import QoS
from lunar.statistics import PublisherStatistics, SubscriptionStatistics
from lunar.subscription import Subscription

__all__ = [
    # Running
    "EventLoop",
    "new_event_loop",
    "run",
    # Publishing and subscribing
    "Node",
    "Publisher",
    "QoS",
    "Sample",
    "SampleInfo",
    "Subscription",
    "events",
    "qos",
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
