"""Samples of DDS: memory that the C library counts the uses of."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from lunar_dds.cyclone import CData, ffi, library

__all__ = ["DISPOSED", "Prepared", "Taken"]

DISPOSED: Final = 32
"""The instance state of what was withdrawn."""

_CDR_HEADER_BYTES: Final = 4
_PLACE: Final[CData] = ffi.typeof("ddsrt_iovec_t *")


class Content:
    """What a sample holds, after the CDR header, as a context; not copied, and valid within the context only."""

    __slots__ = ("_place", "_sample", "_view")

    def __init__(self, sample: CData) -> None:
        self._sample = sample

    def __enter__(self) -> memoryview:
        lib = library()
        size_bytes = lib.ddsi_serdata_size(self._sample)
        place = self._place = ffi.new(_PLACE)
        self._sample = lib.ddsi_serdata_to_ser_ref(self._sample, 0, size_bytes, place)
        after = place.iov_base + _CDR_HEADER_BYTES
        self._view = memoryview(ffi.buffer(after, size_bytes - _CDR_HEADER_BYTES)).toreadonly()
        return self._view

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Whoever kept a part of it would read what is not theirs any more: the BufferError is right.
        self._view.release()
        library().ddsi_serdata_to_ser_unref(self._sample, self._place)


class _Sample:
    __slots__ = ("_sample",)

    def __init__(self, sample: CData) -> None:
        self._sample = sample

    def content(self) -> Content:
        """What it holds."""
        return Content(self._sample)

    def release(self) -> None:
        """Gives it back; again: does nothing."""
        sample, self._sample = self._sample, None
        if sample is not None:
            library().ddsi_serdata_unref(sample)


class Prepared(_Sample):
    """A sample, ready to be written as often as is wanted. Owned by whoever made it, until `release`."""

    __slots__ = ()

    def take(self) -> CData:
        """One reference to it for a call that consumes one."""
        return library().ddsi_serdata_ref(self._sample)

    def share(self) -> Prepared:
        """The same sample for another owner."""
        return Prepared(self.take())


class Taken(_Sample):
    """A sample that was taken. Owned by whoever took it, until `release`.

    Attributes:
        writer: Handle of the writer in this process.
        state: Of its instance; `DISPOSED` if that was withdrawn.
        is_data: It is more than a key.
        timestamp_ns: When it was written, by its writer's clock.
    """

    __slots__ = ("is_data", "state", "timestamp_ns", "writer")

    def __init__(self, sample: CData, info: CData) -> None:
        super().__init__(sample)
        self.writer: int = info.publication_handle
        self.state: int = info.instance_state
        self.is_data: bool = info.valid_data
        self.timestamp_ns: int = info.source_timestamp
