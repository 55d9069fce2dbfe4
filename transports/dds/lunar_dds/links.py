"""Links: how one process of a domain tells another what concerns their streams."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from lunar.qos import QoS
from lunar_dds.endpoints import Writer
from lunar_dds.kinds import PARCEL
from lunar_dds.terms import Terms

if TYPE_CHECKING:
    from lunar._native.control import Doorbell
    from lunar_dds.domains import Participant

__all__ = ["CONTROL_TERMS", "Link", "control_topic"]

CONTROL_TERMS: Final = Terms(QoS(history="keep_all"), holds_all=True)


def control_topic(participant_id: str) -> str:
    """Name of the DDS topic that a process alone reads."""
    return f"lunar/control/{participant_id}"


class Link:
    """Writes to another process.

    Args:
        participant: This process's.
        remote_id: The participant id of the other.
        bell: Rung when it comes or goes.

    Attributes:
        is_ready: It is there.
        lost_at_s: Since when it is not, though it was; monotonic, or None.
    """

    def __init__(self, participant: Participant, remote_id: str, bell: Doorbell) -> None:
        self._writer = Writer(participant, control_topic(remote_id), PARCEL, CONTROL_TERMS, bell)
        self.is_ready = False
        self.lost_at_s: float | None = None
        self._remote_id = remote_id
        self.refresh()

    def refresh(self) -> None:
        """Looks whether it is there."""
        was_ready, self.is_ready = self.is_ready, self._remote_id in self._writer.present().values()
        if self.is_ready:
            self.lost_at_s = None
        elif was_ready:
            self.lost_at_s = time.monotonic()

    def tell(
        self, kind: int, publisher: bytes, session: int, *, sequence: int = 0, dropped: int = 0, extra: int = 0
    ) -> bool:
        """Says something of a stream; False if it cannot be said now."""
        if not self.is_ready:
            return False
        said = self._writer.frame(kind, publisher, session=session, sequence=sequence, dropped=dropped, extra=extra)
        return self._writer.write(said, time.time_ns())

    def close(self) -> None:
        """Stops writing."""
        self._writer.close()
