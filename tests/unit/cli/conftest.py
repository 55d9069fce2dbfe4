"""A graph made up for the command line: nodes with endpoints, and a way to have `lunar.graph_snapshot` see it."""

import signal
from collections.abc import Callable, Iterator, Sequence

import pytest

import lunar
from lunar.graph.descriptions import GraphSnapshot, NodeInfo

SetGraph = Callable[..., GraphSnapshot]


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """`main` gives Ctrl-C back to the kernel when it is done; here the test runner needs it, and the next `main`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def set_graph(monkeypatch: pytest.MonkeyPatch) -> SetGraph:
    """``set_graph(*nodes, unreachable=(), awaited=())``: what the commands see from now on."""

    def set_graph(*nodes: NodeInfo, unreachable: Sequence[str] = (), awaited: Sequence[str] = ()) -> GraphSnapshot:
        snapshot = GraphSnapshot(tuple(nodes), tuple(unreachable), awaited=frozenset(awaited))
        monkeypatch.setattr(lunar, "graph_snapshot", lambda timeout_s=1.0, types_of=(): snapshot, raising=False)
        return snapshot

    return set_graph
