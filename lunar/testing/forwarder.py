"""A bad cable between two interfaces: a process that carries frames from one to the other, and back, with faults.

The kernel's own way (netem) is not in every kernel, and counts less. This is the process that owns one; what it runs is
`forwarder_program`, what it does to a packet is in `impairment`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lunar import errors
from lunar.testing.child import Child
from lunar.testing.impairment import Impairment, LineStatistics

__all__ = ["Forwarder", "ForwarderStatistics"]

_PROGRAM: Final = Path(__file__).with_name("forwarder_program.py")


@dataclass(frozen=True, slots=True)
class ForwarderStatistics:
    """What a forwarder did, in each direction.

    Attributes:
        from_host: Towards the bridge.
        to_host: From there.
    """

    from_host: LineStatistics
    to_host: LineStatistics


class Forwarder:
    """A running forwarder; made by `Hosts.impair`. As a context manager the cable is good again after the block.

    It is made in the network namespace of both interfaces, and it ends when its owner does, however that ends.

    Args:
        host_side: The interface that leads to the host.
        bridge_side: The one that leads to the bridge.
        impairment: What happens to packets.
        seed: Of chance.
        undo: Called when it has ended, to connect both sides again.
    """

    def __init__(
        self, host_side: str, bridge_side: str, impairment: Impairment, seed: int, undo: Callable[[], None]
    ) -> None:
        self._undo = undo
        self._last: ForwarderStatistics | None = None
        self._child = Child(_PROGRAM, host_side, bridge_side, str(seed), json.dumps(asdict(impairment)))
        try:
            self.statistics()  # once it answers it carries
        except BaseException:
            self._child.kill()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def statistics(self) -> ForwarderStatistics:
        """What it did so far; after `mend`, in all. Blocks until it answers.

        Raises:
            ChildFailed: Its process has ended by itself or was killed.
            TimeoutError: It did not answer.
        """
        if self._last is not None:
            return self._last
        answer = self._child.call("statistics")
        if not isinstance(answer, list):
            raise errors.LunarError(f"the forwarder answered {answer!r}")
        return ForwarderStatistics(LineStatistics(**answer[0]), LineStatistics(**answer[1]))

    def mend(self) -> ForwarderStatistics:
        """Makes the cable a good one; what is under way because of delay or rate is lost. Twice is no error.

        Returns:
            What it did.
        """
        if self._last is None:
            try:
                self._last = self.statistics()
            except (errors.LunarError, ValueError):
                self._last = ForwarderStatistics(LineStatistics(), LineStatistics())  # it was killed
            self._child.close()
            self._undo()
        return self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.mend()
