"""What several unit tests need: endpoints made up on the spot."""

from collections.abc import Callable

import pytest

from lunar.graph.descriptions import EndpointInfo, EndpointKind
from lunar.qos import QoS


# Of session scope, so that Hypothesis' tests may use it too; it keeps no state.
@pytest.fixture(scope="session")
def make_endpoint() -> Callable[..., EndpointInfo]:
    def make(
        kind: EndpointKind,
        qos: QoS | None = None,
        *,
        topic: str = "/chatter",
        type_name: str = "bytes",
        type_hash: str = "ab" * 16,
        node_name: str = "/talker",
        pid: int = 12,
    ) -> EndpointInfo:
        identity = ("01" if kind == "publisher" else "02") * 16
        return EndpointInfo(identity, kind, topic, type_name, type_hash, qos or QoS(), node_name, pid)

    return make
