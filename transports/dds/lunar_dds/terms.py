"""A profile as DDS says it: one to one from `lunar.QoS`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from lunar.qos import QoS
from lunar_dds.cyclone import INFINITE_NS, CData, library

__all__ = ["Terms"]

_BEST_EFFORT, _RELIABLE = 0, 1
_VOLATILE, _TRANSIENT_LOCAL = 0, 1
_KEEP_LAST, _KEEP_ALL = 0, 1
_AUTOMATIC, _MANUAL_BY_TOPIC = 0, 2
_UNLIMITED: Final = -1
_IGNORE_OWN: Final = 1


@dataclass(frozen=True, slots=True)
class Terms:
    """Quality of service of a DDS writer or reader.

    Attributes:
        profile: What it offers or requests.
        holds_all: Keep what was not taken or acknowledged whatever the profile's history says: it is bounded elsewhere.
    """

    profile: QoS = field(default_factory=QoS)
    holds_all: bool = False

    @contextmanager
    def qos(self, identity: str) -> Iterator[CData]:
        """The same for the C library; deleted with the context.

        Args:
            identity: Told to the others as user data.
        """
        lib, profile = library(), self.profile
        made = lib.dds_create_qos()
        try:
            lib.dds_qset_reliability(made, _RELIABLE if profile.reliability == "reliable" else _BEST_EFFORT, 0)
            lib.dds_qset_durability(made, _TRANSIENT_LOCAL if profile.durability == "transient_local" else _VOLATILE)
            history = _KEEP_ALL if profile.history == "keep_all" else _KEEP_LAST
            depth = profile.depth if history == _KEEP_LAST else _UNLIMITED
            lib.dds_qset_durability_service(made, 0, history, depth, _UNLIMITED, _UNLIMITED, _UNLIMITED)
            lib.dds_qset_history(made, _KEEP_ALL if self.holds_all else history, max(depth, 1))
            limit = profile.depth if history == _KEEP_ALL and not self.holds_all else _UNLIMITED
            lib.dds_qset_resource_limits(made, limit, _UNLIMITED, _UNLIMITED)
            lib.dds_qset_deadline(made, _nanoseconds(profile.deadline_s))
            lib.dds_qset_lifespan(made, _nanoseconds(profile.lifespan_s))
            manual = profile.liveliness == "manual_by_topic"
            lib.dds_qset_liveliness(made, _MANUAL_BY_TOPIC if manual else _AUTOMATIC, _nanoseconds(profile.lease_s))
            lib.dds_qset_transport_priority(made, profile.priority)
            lib.dds_qset_ignorelocal(made, _IGNORE_OWN)
            # Whose writer ends has not withdrawn anything: it may have died.
            lib.dds_qset_writer_data_lifecycle(made, False)
            value = identity.encode()
            lib.dds_qset_userdata(made, value, len(value))
            yield made
        finally:
            lib.dds_delete_qos(made)


def _nanoseconds(seconds: float | None) -> int:
    return INFINITE_NS if seconds is None else int(seconds * 1e9)
