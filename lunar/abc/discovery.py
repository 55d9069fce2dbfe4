"""The contract of discovery between hosts: a board on which each process posts what the others are to know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Discovery", "News"]


@dataclass(frozen=True, slots=True)
class News:
    """Something that another process has posted, or its end.

    Attributes:
        source: Whose it is: the same for all that one process posts, another one for each process and each time that
            it joins.
        key: What it is about, 16 bytes; empty if it is about the process as a whole.
        body: What was posted; None if it was withdrawn or, with an empty key, if the process is gone: everything that
            it has posted is, too. It may come again, then with all that it has posted.
    """

    source: Hashable
    key: bytes
    body: bytes | None


class Discovery(ABC):
    """One process's board in one domain. All calls come from one thread.

    What is posted stays until it is withdrawn or its process is gone, and reaches who joins later as well. The
    process's own news are not told to it.
    """

    __slots__ = ()

    @abstractmethod
    def post(self, key: bytes, body: bytes) -> None:
        """Posts something, or replaces it.

        Args:
            key: 16 bytes, unique in the domain.
            body: At most 1 MiB.

        Raises:
            ResourceExhausted: A limit was reached; nothing was posted.
        """

    @abstractmethod
    def withdraw(self, key: bytes) -> None:
        """Takes back what was posted; nothing if there is nothing."""

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that is readable while there are news; the same each time."""

    @abstractmethod
    def take(self) -> list[News]:
        """What is new since the last call, in the order of each source; never blocks."""

    @abstractmethod
    def close(self) -> None:
        """Takes everything back and lets the others know. Again: does nothing."""

    @abstractmethod
    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors and touches nothing that is shared."""
