"""The public names, held against a list: one that comes or goes does so on purpose, with a line in the changelog."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import lunar

NAMES = {
    "lunar": """
        EventLoop new_event_loop run
        MessageLoan MessagePublisher Node Publisher QoS Sample SampleInfo Subscription events qos
        Array Message field float32 float64 int8 int16 int32 int64 message messages uint8 uint16 uint32 uint64
        EndpointInfo GraphSnapshot NodeInfo PublisherStatistics SubscriptionStatistics graph_snapshot
        ClosedError ConfigError ContractDenied FieldError InvalidName LunarError PeerFault QoSError
        ResourceExhausted SchemaError TimeoutError TransportUnavailable TypeMismatch VerificationError WouldBlock
        __version__
    """,
    "lunar.events": """
        DeadlineMissed EndpointEvent Event IncompatibleQoS LivelinessLost LossCause Matched NoTransport NotEncrypted
        PeerFaulted SamplesLost Severity TransportChanged TypeMismatch Unmatched
    """,
    "lunar.qos": """
        ACTION_STATUS_DEFAULT DEFAULT PARAMETERS PARAMETER_EVENTS PRESETS ROSOUT_DEFAULT SENSOR_DATA SERVICES_DEFAULT
        SYSTEM_DEFAULT
        Datapath Durability History Incompatibility Liveliness QoS Reliability Resources incompatibilities spin_ns
    """,
    "lunar.statistics": "MatchStatistics PublisherStatistics SubscriptionMatchStatistics SubscriptionStatistics",
    "lunar.abc": """
        AllowedKey Capabilities Channel DirectOutgoing Discovery Engine HasKeys Incoming IncomingHandler KeyRing
        MatchTerms NetworkTransport News Offer
        Outgoing OutgoingHandler Parcel Probe PublisherEnd Reach ReceiverEnd Site Stream Transport
        require_descriptors
    """,
    "lunar.testing": """
        Child ChildFailed Collector Forwarder ForwarderStatistics HasEvents Host Hosts Impairment LineStatistics
        MemoryDiscovery MemoryTransport
        NUMBERED_BYTES collect conformance isolated lab_unavailable numbered read_number remove_leftovers serve
    """,
    "lunar.testing.conformance": """
        BEST_EFFORT_CHECKS BUS_CHECKS Bus BusCheck BusNode BusPublisher BusSubscription CHECKS Check Subject
    """,
}

MEMBERS = {
    "Node": """
        aclose close create_publisher create_subscription events full_name name namespace
    """,
    "Publisher": """
        assert_liveliness close id loan publish publish_all publish_blocking publish_many publish_nowait qos statistics
        subscriber_count topic wait_for_subscribers wait_for_subscribers_blocking
    """,
    "Subscription": """
        close id publisher_count qos receive receive_blocking receive_many receive_many_blocking receive_nowait
        statistics take topic wait_for_publishers wait_for_publishers_blocking
    """,
    "Sample": "info message sequence_number size_bytes",
    "SampleInfo": "publisher_id reception_time_ns sequence_number source_time_ns",
    "QoS": """
        datapath deadline_s depth durability from_dict history lease_s lifespan_s liveliness priority reliability
        replace resources to_dict transport
    """,
    "EndpointInfo": "from_dict host id kind node_name pid qos to_dict topic type_hash type_name",
    "NodeInfo": "endpoints from_dict full_name host host_key name namespace pid routes to_dict transports uid",
    "GraphSnapshot": "awaited endpoints from_dict nodes schemas to_dict transports unreachable",
}


@pytest.mark.parametrize("module", NAMES)
def test_a_module_exports_exactly_these_names(module: str) -> None:
    exported = importlib.import_module(module).__all__
    assert sorted(exported) == sorted(NAMES[module].split())
    assert len(set(exported)) == len(exported)


@pytest.mark.parametrize("module", NAMES)
def test_every_exported_name_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("name", MEMBERS)
def test_a_type_has_exactly_these_public_members(name: str) -> None:
    public = [member for member in dir(getattr(lunar, name)) if not member.startswith("_")]
    assert public == sorted(MEMBERS[name].split())


def test_nobody_below_the_user_facing_modules_imports_from_the_bare_package() -> None:
    # The import linter takes `from lunar._native._bus import ...` for an import of `lunar` and has to let it pass, so
    # it could not see the real thing, which would close a circle.
    root = Path(lunar.__path__[0])
    modules = {found.name for found in pkgutil.iter_modules([str(root)])}
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.parent.name != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and _takes_from_the_bare_package(node, modules)
    ]
    assert found == []


def _takes_from_the_bare_package(node: ast.Import | ast.ImportFrom, modules: set[str]) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name == "lunar" for alias in node.names)
    return node.module == "lunar" and any(alias.name not in modules for alias in node.names)
