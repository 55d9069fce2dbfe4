"""An optional part of a transport's contract: keys, by which its processes know each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

__all__ = ["AllowedKey", "HasKeys", "KeyRing"]


@dataclass(frozen=True, slots=True)
class AllowedKey:
    """A public key of somebody else that is let in.

    Attributes:
        key: The key, as text.
        name: Whose it is, for people.
        source: The file that lists it; removing it there takes the key back.
    """

    key: str
    name: str
    source: str


class KeyRing(ABC):
    """This user's key pair, and the public keys of others that are let in. Secret keys never leave it."""

    __slots__ = ()

    @property
    @abstractmethod
    def directory(self) -> Path:
        """Where the keys are kept."""

    @property
    @abstractmethod
    def required(self) -> bool:
        """Whether the settings ask for keys at all."""

    @abstractmethod
    def make(self) -> str:
        """Makes a key pair, for this user alone to read; returns the public key.

        Raises:
            FileExistsError: There is one already; it is left alone.
            OSError: It cannot be written.
        """

    @abstractmethod
    def public(self) -> str:
        """Returns the public key, to be told to others.

        Raises:
            TransportUnavailable: There is none, or it cannot be used, with the reason and a remedy.
        """

    @abstractmethod
    def allow(self, key: str, name: str) -> AllowedKey:
        """Lets a public key in from now on; running processes too notice it within seconds.

        Args:
            key: Somebody else's public key.
            name: Whose it is: 1 to 64 letters, digits, `.`, `_`, `-` or `@`, not beginning with a dot.

        Raises:
            ConfigError: The key or the name is none.
            FileExistsError: Another key has that name.
            OSError: It cannot be written.
        """

    @abstractmethod
    def allowed(self) -> list[AllowedKey]:
        """Returns the keys of others that are let in, by name.

        Raises:
            OSError: They cannot be read.
        """


@runtime_checkable
class HasKeys(Protocol):
    """A transport whose processes know each other by keys."""

    def key_ring(self, settings: Mapping[str, object]) -> KeyRing:
        """Returns where the keys are.

        Args:
            settings: What the configuration says for this transport.

        Raises:
            ConfigError: A setting is unknown or has a value that cannot be used.
        """
