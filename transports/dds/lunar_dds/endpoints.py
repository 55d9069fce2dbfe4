"""DDS writers and readers of samples that are laid out by us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lunar._native.control import Doorbell
from lunar.errors import ResourceExhausted
from lunar_dds.cyclone import TIMED_OUT, CData, check, ffi, library
from lunar_dds.domains import Participant
from lunar_dds.kinds import Kind
from lunar_dds.samples import Prepared, Taken
from lunar_dds.terms import Terms

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Reader", "Writer"]

_KEY: Final = 1
_DATA: Final = 2
_DISPOSE_AND_UNREGISTER: Final = 3
_TAKE_AT_ONCE: Final = 64
_CDR_LITTLE_ENDIAN: Final = b"\0\1\0\0"
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
        self._type = sertype[0]
        self._parts = ffi.new("ddsrt_iovec_t[2]")

    def prepare(self, head: bytes, payload: ReadableBuffer = b"", *, withdraws: bool = False) -> Prepared:
        """Makes a sample, with one copy of what it is made of.

        Args:
            head: All that comes before the payload, its length included.
            payload: The octets at the end.
            withdraws: It is a key alone, whose instance ends.

        Raises:
            ResourceExhausted: There is no memory for it.
        """
        lib, parts = library(), self._parts
        head = _CDR_LITTLE_ENDIAN + head
        # Borrowed for the call only: the sample is a copy.
        first, second = ffi.from_buffer(head), ffi.from_buffer(payload)
        parts[0].iov_base, parts[0].iov_len = first, len(head)
        parts[1].iov_base, parts[1].iov_len = second, len(second)
        size = len(head) + len(second)
        sample = lib.ddsi_serdata_from_ser_iov(self._type, _KEY if withdraws else _DATA, 2, parts, size)
        if not sample:
            raise ResourceExhausted(f"no memory for a DDS sample of {size} bytes")
        sample.statusinfo = _DISPOSE_AND_UNREGISTER if withdraws else 0
        return Prepared(sample)

    def write(self, sample: Prepared, timestamp_ns: int) -> bool:
        """Writes a sample; False if there is no room now. The sample is still its owner's.

        Raises:
            ResourceExhausted: A limit was reached; it was not written.
        """
        given = sample.take()
        given.timestamp = timestamp_ns
        code = library().dds_forwardcdr(self.entity, given)
        if code == TIMED_OUT:
            return False
        check(code, "write a DDS sample")
        return True

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
    """

    def __init__(self, participant: Participant, topic: str, kind: Kind, terms: Terms, bell: Doorbell) -> None:
        super().__init__(participant)
        self.bell = bell
        self._samples = ffi.new("struct ddsi_serdata *[]", _TAKE_AT_ONCE)
        self._infos = ffi.new("dds_sample_info_t[]", _TAKE_AT_ONCE)
        handle = participant.topic(topic, kind)
        with terms.qos(participant.participant_id) as qos, _listening(bell, reader=True) as listener:
            made = library().dds_create_reader(participant.entity, handle, qos, listener)
        self.entity = check(made, f"make a DDS reader on {topic}")

    def take(self, most: int = _TAKE_AT_ONCE) -> Sequence[Taken]:
        """Takes what there is, each to be released by the caller; fewer than `most` (64 at most) if that is all."""
        samples, infos = self._samples, self._infos
        count = check(library().dds_takecdr(self.entity, samples, most, infos, 0), "take DDS samples")
        return [Taken(samples[index], infos[index]) for index in range(count)]

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
