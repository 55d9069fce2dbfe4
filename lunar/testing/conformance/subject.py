"""What is tested, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lunar.abc import NetworkTransport
    from lunar.testing.conformance.stage import Stage

__all__ = ["MIB", "Check", "Subject", "require"]

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Subject:
    """A transport to be tested, and where.

    Attributes:
        transport: Makes it; called once a check.
        settings: What a configuration would say for it.
        addresses: Of the interface that the engines meet over; `lunar.abc.Site` says more.
        interfaces: Its name.
        domain: Of the engines; one that nobody else on this machine uses.
        largest_bytes: No reliable message larger than this is tried; 64 MiB are worth a run now and then. Those for
            best effort end at 64 KiB at most, because of what a system's buffers drop.
        patience_s: After so long something has failed to happen.
    """

    transport: Callable[[], NetworkTransport]
    settings: Mapping[str, object] = field(default_factory=dict)
    addresses: tuple[str, ...] = ("127.0.0.1",)
    interfaces: tuple[str, ...] = ("lo",)
    domain: int = 0
    largest_bytes: int = MIB + 1
    patience_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Check:
    """One of the checks of engines. Called with a subject it raises AssertionError with what is wrong, or returns.

    Attributes:
        name: For people, and as the id of a parametrised test.
        run: What it does on a stage that is set for it.
        needs_reliable: It opens reliable streams: not for a transport whose capabilities say it has none.
    """

    name: str
    run: Callable[[Stage], None]
    needs_reliable: bool

    def __call__(self, subject: Subject) -> None:
        """Runs it.

        Raises:
            AssertionError: The transport breaks the contract; the text says how.
        """
        from lunar.testing.conformance.stage import Stage

        with Stage(subject, reliable=self.needs_reliable) as stage:
            self.run(stage)

    def __str__(self) -> str:
        return self.name


def require(holds: object, text: str) -> None:
    """States what the contract asks for; holds in optimised programs too.

    Raises:
        AssertionError: It does not hold.
    """
    if not holds:
        raise AssertionError(text)
