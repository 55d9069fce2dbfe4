"""What the transport does once per sample, natively."""

from collections.abc import Callable, Mapping

from _typeshed import ReadableBuffer

class Sample:
    """A sample of DDS: memory that the C library counts the uses of.

    It exports what comes after the CDR header, read-only; a view of it keeps it.

    Attributes:
        writer: Of one that was taken, handle of the writer in this process.
        state: Of its instance.
        is_data: It is more than a key.
        timestamp_ns: When it was written, by its writer's clock.
    """

    writer: int
    state: int
    is_data: bool
    timestamp_ns: int
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Frame:
    """A sample of the type `lunar::Parcel`, taken apart; `lunar_dds.frames` says what it means. It exports its payload.

    Attributes:
        kind: One of the constants of `lunar_dds.frames`.
        session: Which time this is that the receiving end has opened the stream.
        publisher: Its id, 16 bytes.
        sequence: See the kinds.
        time_ns: When it was published, since the epoch.
        dropped: See the kinds.
        extra: See the kinds.
        payload_bytes: Size of the payload.
    """

    kind: int
    session: int
    publisher: bytes
    sequence: int
    time_ns: int
    dropped: int
    extra: int
    payload_bytes: int
    def is_for(self, participant: bytes, /) -> bool: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Writer:
    def __init__(self, entity: int, sertype: int) -> None: ...
    def prepare(self, head: bytes, payload: ReadableBuffer = b"", *, withdraws: bool = False) -> Sample: ...
    def frame(
        self,
        kind: int,
        publisher: bytes,
        payload: ReadableBuffer = b"",
        *,
        session: int = 0,
        sequence: int = 0,
        time_ns: int = 0,
        dropped: int = 0,
        extra: int = 0,
        audience: bytes = b"",
    ) -> Sample: ...
    def write(self, sample: Sample, timestamp_ns: int, /) -> bool: ...

class Reader:
    def __init__(self, entity: int) -> None: ...
    def take(self, most: int, /) -> list[Sample]: ...

def head(
    kind: int,
    publisher: bytes,
    payload_bytes: int = 0,
    *,
    session: int = 0,
    sequence: int = 0,
    time_ns: int = 0,
    dropped: int = 0,
    extra: int = 0,
    audience: bytes = b"",
) -> bytes: ...
def parse(content: ReadableBuffer, /) -> Frame: ...
def bind(addresses: Mapping[str, int], fail: Callable[[int, str], object], /) -> None: ...
