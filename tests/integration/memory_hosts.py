"""Participants of this process that meet as if on hosts of their own: over a board and transports in memory."""

from pathlib import Path

import pytest

import lunar
from lunar import abc, testing
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network.presence import Surroundings

Equipment = tuple[tuple[abc.NetworkTransport, dict[str, object]], ...]


class Board(testing.MemoryDiscovery):
    """One that counts what is posted, and lets a test post in its process's name what it likes."""

    def __init__(self, site: abc.Site) -> None:
        super().__init__(site)
        self.posts: list[bytes] = []

    def post(self, key: bytes, body: bytes) -> None:
        self.posts.append(body)
        super().post(key, body)


class MemoryHosts:
    """Makes nodes on hosts.

    Attributes:
        equipment: The transports of the nodes that are made next.
        missing: Why these have not others.
        boards: Of each node, in the order in which they were made.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.equipment: Equipment = ((testing.MemoryTransport(), {}),)
        self.missing: dict[str, str] = {}
        self.boards: list[Board] = []
        self._directory, self._monkeypatch = directory, monkeypatch
        self._nodes: list[lunar.Node] = []
        monkeypatch.setattr(membership, "surroundings_of", self._surroundings_of)

    def _surroundings_of(self, _config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), self._board, self.equipment, self.missing)

    def _board(self, site: abc.Site) -> Board:
        self.boards.append(Board(site))
        return self.boards[-1]

    def node(self, host: str) -> lunar.Node:
        """Makes a node; those of one host meet without a network."""
        directory = self._directory / host
        directory.mkdir(mode=0o700, exist_ok=True)
        self._monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(directory))
        self._nodes.append(lunar.Node(f"node_{len(self._nodes)}"))
        return self._nodes[-1]

    def close(self) -> None:
        """Closes all nodes."""
        for node in self._nodes:
            node.close()
