"""DDS writers and readers of samples that are laid out by us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lunar._native.control import Doorbell
from lunar_dds import _cdr
from lunar_dds.cyclone import CData, check, ffi, library
from lunar_dds.domains import Participant
from lunar_dds.kinds import Kind
from lunar_dds.terms import Terms

__all__ = ["DISPOSED", "TAKE_AT_ONCE", "Reader", "Writer"]

TAKE_AT_ONCE: Final = 64
DISPOSED: Final = 32
"""The instance state of what was withdrawn."""

_MATCHES_AT_ONCE: Final = 256
_IDENTITY_BYTES: Final = 32
# What they wrote may still wait to be taken.
_GONE_REMEMBERED: Final = 1024


@contextmanager
def _listening(bell: Doorbell | None, *, reader: bool) -> Iterator[CData]:
    if bell is None:
        yield ffi.NULL
        return
    lib = library()
    listener = lib.dds_create_listener(ffi.NULL)
    argument, matched = ffi.cast("void *", bell.argument), ffi.cast("void *", bell.on_match)
    if reader:
        lib.dds_lset_data_available_arg(listener, ffi.cast("void *", bell.on_data), argument, False)
        lib.dds_lset_subscription_matched_arg(listener, matched, argument, False)
    else:
        lib.dds_lset_publication_matched_arg(listener, matched, argument, False)
    try:
        yield listener
    finally:
        lib.dds_delete_listener(listener)


class _Endpoint:
    def __init__(self, participant: Participant) -> None:
        self._participant = participant
        self._matches = ffi.new("dds_instance_handle_t[]", _MATCHES_AT_ONCE)
        self._identities: dict[int, str] = {}
        self._gone: dict[int, str] = {}
        self.entity = 0

    def _matched(self, ask: CData) -> set[int]:
        while True:
            room = len(self._matches)
            count = check(ask(self.entity, self._matches, room), "ask for DDS matches")
            if count <= room:
                return set(self._matches[0:count])
            self._matches = ffi.new("dds_instance_handle_t[]", 2 * count)

    def _present(self, ask: CData, describe: CData) -> dict[int, str]:
        now = self._matched(ask)
        for handle in now - self._identities.keys():
            identity = _identity(describe(self.entity, handle))
            if identity is not None:
                self._identities[handle] = identity
        for handle in self._identities.keys() - now:
            self._gone[handle] = self._identities.pop(handle)
        while len(self._gone) > _GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]
        return self._identities

    def close(self) -> None:
        """Deletes it; the bell that it was given is not rung any more when this returns. Again: does nothing."""
        entity, self.entity = self.entity, 0
        if entity:
            library().dds_delete(entity)


class Writer(_Endpoint):
    """Writes.

    Args:
        participant: Whose it is.
        topic: Name of the topic in DDS.
        kind: Its type.
        terms: Its quality of service.
        bell: Rung when a reader comes or goes.

    Attributes:
        prepare: Makes a sample of a head and a payload, with one copy of both; ResourceExhausted without memory.
        frame: Makes one of the type `lunar::Parcel`; see `lunar_dds.frames.head`.
        write: Writes a sample with a timestamp, in nanoseconds; False if there is no room now, ResourceExhausted if a
            limit was reached and it was not written. It may be written again.
    """

    def __init__(
        self, participant: Participant, topic: str, kind: Kind, terms: Terms, bell: Doorbell | None = None
    ) -> None:
        super().__init__(participant)
        lib = library()
        handle = participant.topic(topic, kind)
        with terms.qos(participant.participant_id) as qos, _listening(bell, reader=False) as listener:
            made = lib.dds_create_writer(participant.entity, handle, qos, listener)
        self.entity = check(made, f"make a DDS writer on {topic}")
        sertype = ffi.new("const struct ddsi_sertype **")
        check(lib.dds_get_entity_sertype(self.entity, sertype), "ask for a writer's type")
        native = _cdr.Writer(self.entity, int(ffi.cast("uintptr_t", sertype[0])))
        self.prepare, self.frame, self.write = native.prepare, native.frame, native.write

    def present(self) -> dict[int, str]:
        """The readers there are now, and whose they are."""
        lib = library()
        return self._present(lib.dds_get_matched_subscriptions, lib.dds_get_matched_subscription_data)


class Reader(_Endpoint):
    """Reads.

    Args:
        participant: Whose it is.
        topic: Name of the topic in DDS.
        kind: Its type.
        terms: Its quality of service.
        bell: Rung when there are samples, and when a writer comes or goes.

    Attributes:
        bell: The same.
        take: Takes what there is, at most so many samples; fewer if that is all. `TAKE_AT_ONCE` at most.
    """

    def __init__(self, participant: Participant, topic: str, kind: Kind, terms: Terms, bell: Doorbell) -> None:
        super().__init__(participant)
        self.bell = bell
        handle = participant.topic(topic, kind)
        with terms.qos(participant.participant_id) as qos, _listening(bell, reader=True) as listener:
            made = library().dds_create_reader(participant.entity, handle, qos, listener)
        self.entity = check(made, f"make a DDS reader on {topic}")
        self.take = _cdr.Reader(self.entity).take

    def identity(self, writer: int) -> str | None:
        """Whose a writer is or was; None if it is long gone."""
        return self._identities.get(writer) or self._gone.get(writer) or self.present().get(writer)

    def present(self) -> dict[int, str]:
        """The writers there are now, and whose they are."""
        lib = library()
        return self._present(lib.dds_get_matched_publications, lib.dds_get_matched_publication_data)


def _identity(endpoint: CData) -> str | None:
    """Takes over what the library tells of an endpoint; None if that is gone or not one of ours."""
    if not endpoint:
        return None
    lib = library()
    value, size = ffi.new("void **"), ffi.new("size_t *")
    try:
        if not lib.dds_qget_userdata(endpoint.qos, value, size):
            return None
        told = bytes(ffi.buffer(value[0], size[0])) if value[0] else b""
        lib.dds_free(value[0])
    finally:
        lib.dds_builtintopic_free_endpoint(endpoint)
    return told.decode("ascii", "replace") if len(told) == _IDENTITY_BYTES else None
