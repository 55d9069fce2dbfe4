"""Writer, Reader and their matches: geometry, history, lifespan, growth, hooks, and what they refuse."""

import gc
import os
import weakref
from collections.abc import Callable

import pytest

from lunar import errors
from lunar._native._bus import Loan, Mapping, Peer, ReaderMatch, Sample, SegmentTable, Writer, WriterMatch
from lunar._native.control import (
    BELLS,
    check_memory,
    create_bell_page,
    create_memory,
    queue_bytes,
    queue_geometry,
    seal_memory,
)
from tests.unit.native.wire import Wire

pytestmark = pytest.mark.native

MakeWire = Callable[..., Wire]


# ---- memory ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> int:
    return create_memory("lunar-test", 4096)


def test_memory_is_checked_before_it_is_mapped(memory: int) -> None:
    assert not check_memory(memory, 4096)  # it could still be truncated under us
    with pytest.raises(errors.LunarError, match="map shared memory"):
        Mapping(memory, 4096, False, True)
    seal_memory(memory, read_only=False)
    assert check_memory(memory, 4096)
    assert not check_memory(memory, 8192)
    with pytest.raises(errors.LunarError):
        Mapping(memory, 8192, False, True)
    with pytest.raises(errors.LunarError):
        Mapping(memory, 0, False, False)
    os.close(memory)
    with pytest.raises(errors.LunarError):
        Mapping(memory, 4096, False, True)


def test_sealed_memory_is_written_through_the_mapping_made_before_and_no_other(memory: int) -> None:
    ours = Mapping(memory, 4096, True, False)
    seal_memory(memory, read_only=True)
    theirs = Mapping(memory, 4096, False, True)
    with memoryview(ours) as writable, memoryview(theirs) as readable:
        assert (writable.readonly, readable.readonly) == (False, True)
        writable[:5] = b"lunar"
        assert bytes(readable[:5]) == b"lunar"
    with pytest.raises(errors.LunarError):
        Mapping(memory, 4096, True, True)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(memory, 0)
    os.close(memory)


def test_a_view_keeps_its_mapping(memory: int) -> None:
    view = memoryview(Mapping(memory, 4096, True, False))
    os.close(memory)
    view[4095] = 7
    assert view[4095] == 7


def test_a_segment_has_one_place_and_comes_once(memory: int) -> None:
    table = SegmentTable()
    mapping = Mapping(memory, 4096, False, False)
    table.add(3, mapping)
    for index in (3, 4096, 2**31):
        with pytest.raises(errors.PeerFault, match="segment"):
            table.add(index, mapping)
    table.add(0, mapping)
    table.add(4095, mapping)
    os.close(memory)


def test_a_page_that_is_no_bell_page_is_refused(memory: int) -> None:
    seal_memory(memory, read_only=False)
    page = Mapping(memory, 4096, False, True)
    os.close(memory)
    with pytest.raises(errors.PeerFault, match="bell page"):
        Peer(page, -1)
    fd, bells = create_bell_page()
    assert bells.size_bytes >= 64 * BELLS
    peer = Peer(Mapping(fd, bells.size_bytes, False, True), os.dup(fd))
    os.close(fd)
    peer.close()
    peer.close()


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 512, 513, 1024, 100_000, 1_000_000])
def test_a_queue_has_room_for_its_depth_and_twice_as_many_slots(depth: int) -> None:
    capacity, slots = queue_geometry(depth)
    assert depth <= capacity < 2 * depth or capacity == depth == 1
    assert capacity & (capacity - 1) == slots & (slots - 1) == 0
    assert slots >= max(1024, 2 * capacity)


@pytest.mark.parametrize(
    ("capacity", "slots"), [(0, 1024), (3, 1024), (4, 1000), (4, 512), (2048, 1024), (2**21, 2**22), (4, 0)]
)
def test_a_queue_of_another_shape_is_refused_at_both_ends(make_wire: MakeWire, capacity: int, slots: int) -> None:
    wire = make_wire(4)
    fd = create_memory("lunar-queue", 1 << 16)
    seal_memory(fd, read_only=False)
    memory = Mapping(fd, 1 << 16, True, True)
    os.close(fd)
    with pytest.raises(errors.LunarError):
        WriterMatch(memory, capacity, slots, 1, wire.peer_of_writer, "subscription", False)
    with pytest.raises(errors.LunarError):
        ReaderMatch(memory, capacity, slots, wire.table, wire.peer_of_reader, "publisher", False, 0, 0)


def test_a_block_that_is_too_small_or_no_queue_is_refused(make_wire: MakeWire) -> None:
    wire = make_wire(4)
    capacity, slots = queue_geometry(4)
    size_bytes = queue_bytes(capacity, slots)
    for size, name in ((size_bytes - 64, "too small"), (size_bytes, "no queue")):
        fd = create_memory(name, size)
        seal_memory(fd, read_only=False)
        memory = Mapping(fd, size, True, True)
        os.close(fd)
        with pytest.raises(errors.PeerFault):
            ReaderMatch(memory, capacity, slots, wire.table, wire.peer_of_reader, "publisher", False, 0, 0)
        if size < size_bytes:
            with pytest.raises(errors.LunarError):
                WriterMatch(memory, capacity, slots, 4, wire.peer_of_writer, "subscription", False)


# ---- history and lifespan -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history_depth", "history", "published", "expected"),
    [(0, 0, 5, []), (3, 3, 5, [2, 3, 4]), (3, 2, 5, [3, 4]), (3, 8, 2, [0, 1]), (8, 4, 8, [4, 5, 6, 7]), (3, 0, 5, [])],
)
def test_a_new_match_gets_as_much_history_as_both_want(
    make_wire: MakeWire, history_depth: int, history: int, published: int, expected: list[int]
) -> None:
    wire = make_wire(4, history_depth=history_depth, history=history, publish_first=published)
    assert wire.take() == [b"%d" % number for number in expected]
    wire.writer.publish_nowait(b"new")
    (sample,) = wire.reader.take(5)
    assert (bytes(sample.message), sample.sequence_number) == (b"new", published + 1)
    assert (wire.receiving.lost, wire.faults) == (0, [])


def test_what_is_older_than_its_lifespan_is_given_back_at_once(make_wire: MakeWire) -> None:
    wire = make_wire(4, lifespan_ns=1)
    for _ in range(100):
        wire.writer.publish_many([b"old"] * 4)
        assert wire.reader.take(10) == []
    assert (wire.receiving.lost_expired, wire.sending.lost_expired, wire.reader._expired) == (400, 400, 400)
    assert (wire.sending.queued, wire.sending.held) == (0, 0)
    with pytest.raises(errors.WouldBlock):
        wire.reader.receive_nowait()


# ---- memory that grows ----------------------------------------------------------------------------------------------


def test_the_pool_grows_by_the_class_that_is_needed_and_only_then(make_wire: MakeWire) -> None:
    wire = make_wire(1)
    for size_bytes, chunk_bytes in ((0, 64), (64, 64), (65, 128), (100_000, 131_072), (1 << 20, 1 << 20)):
        wire.grown.clear()
        wire.writer.publish_nowait(bytes(size_bytes))
        assert wire.grown in ([chunk_bytes], [])
        wire.grown.clear()
        wire.writer.publish_nowait(bytes(size_bytes))
        assert wire.grown == []
        assert wire.take() == [bytes(size_bytes)]


def test_an_error_of_the_growth_is_raised_and_nothing_was_published() -> None:
    def grow(size_class: int, chunk_bytes: int) -> None:
        raise errors.ResourceExhausted(f"class {size_class}, {chunk_bytes} bytes")

    writer: Writer[object] = Writer(None, 0, 1, 1 << 20, lambda *_: None, grow, lambda: None)
    with pytest.raises(errors.ResourceExhausted, match="class 1, 128 bytes"):
        writer.publish_nowait(bytes(100))
    with pytest.raises(errors.ResourceExhausted, match="class 0, 64 bytes"):
        Loan(writer, 10).__enter__()
    assert (writer._published, writer._pool_bytes) == (0, 0)
    with pytest.raises(ValueError, match="size class"):
        writer._next_segment_bytes(27)
    writer._close()
    with pytest.raises(errors.ClosedError):
        writer._add_segment(0, 4096, 0)


def test_what_is_larger_than_the_pool_may_become_is_refused_at_once(make_wire: MakeWire) -> None:
    wire = make_wire(1, pool_bytes=100_000)
    with pytest.raises(errors.ResourceExhausted, match="100001 bytes is larger"):
        wire.writer.publish_nowait(bytes(100_001))
    with pytest.raises(errors.ResourceExhausted, match="is larger"):
        wire.writer.loan(100_001).__enter__()
    assert wire.grown == []


# ---- hooks ----------------------------------------------------------------------------------------------------------


def test_a_loss_is_told_once_until_somebody_has_reported_it(make_wire: MakeWire) -> None:
    wire = make_wire(2)
    wire.writer.publish_many([b""] * 2)
    assert wire.losses == []
    wire.writer.publish_many([b""] * 10)
    assert wire.losses == ["writer"]
    wire.take()
    assert wire.losses == ["writer", "reader"]
    wire.writer.publish_many([b""] * 10)
    wire.take()
    assert wire.losses == ["writer", "reader"]
    wire.writer._reported()
    wire.reader._reported()
    wire.writer.publish_many([b""] * 10)
    wire.take()
    assert wire.losses == ["writer", "reader"] * 2
    assert (wire.writer._lost, wire.reader._lost) == (26, 26)


def test_what_is_detached_gives_back_what_was_out(make_wire: MakeWire) -> None:
    wire = make_wire(8)
    wire.writer.publish_many([bytes(1 << 20)] * 5)
    held = wire.reader.take(3)
    assert (wire.sending.queued, wire.sending.held) == (2, 3)
    pool_bytes = wire.writer._pool_bytes
    wire.writer._detach(wire.sending)
    wire.writer._detach(wire.sending)
    assert (wire.sending.queued, wire.sending.held) == (0, 0)
    assert [len(sample.message) for sample in held] == [1 << 20] * 3
    wire.writer.publish_many([bytes(1 << 20)] * 5)  # to nobody
    assert wire.writer._pool_bytes == pool_bytes
    held.clear()  # their slots are returned to nobody
    assert wire.faults == []


def test_a_reader_drains_a_publisher_that_has_gone(make_wire: MakeWire) -> None:
    wire = make_wire(8)
    wire.writer.publish_many([b"0", b"1", b"2"])
    wire.reader._detach(wire.receiving, False)
    wire.writer._close()
    assert wire.receiving.ended
    assert wire.take() == [b"0", b"1", b"2"]
    assert wire.take() == []


def test_a_reader_that_gives_up_takes_nothing_more(make_wire: MakeWire) -> None:
    wire = make_wire(8)
    wire.writer.publish_many([b"0", b"1", b"2"])
    wire.reader._detach(wire.receiving, True)
    assert wire.take() == []


def test_a_closed_end_takes_no_match(make_wire: MakeWire) -> None:
    wire = make_wire(4)
    other = make_wire(4)
    wire.writer._close()
    wire.reader._close()
    with pytest.raises(errors.ClosedError):
        wire.writer._attach(other.sending, 0)
    with pytest.raises(errors.ClosedError):
        wire.reader._attach(other.receiving)
    with pytest.raises(TypeError):
        wire.reader._attach(None)  # type: ignore[arg-type]


def test_readers_and_writers_in_a_circle_are_collected(make_wire: MakeWire) -> None:
    class Own(Writer[object]):
        def __init__(self) -> None:
            super().__init__(None, 0, 0, 1 << 20, self._hook, self._hook, self._hook)

        def _hook(self, *_: object) -> None:
            """Closes a circle: the writer keeps its hooks, and they keep it."""

    own = Own()
    own.publish(b"never awaited").close()
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None


def test_samples_are_made_by_nobody_else(make_wire: MakeWire) -> None:
    with pytest.raises(TypeError, match="cannot create"):
        Sample()
    wire = make_wire(4)
    wire.writer.publish_nowait(b"four")
    (sample,) = wire.reader.take(1)
    assert repr(sample) == "Sample(<4 bytes>, sequence_number=1, publisher_id='the publisher')"
    assert repr(sample.info).startswith("SampleInfo(sequence_number=1, source_time_ns=")
    assert memoryview(sample).readonly
    assert bytes(memoryview(sample)) == b"four"


def test_wrong_arguments_are_refused(make_wire: MakeWire) -> None:
    wire = make_wire(4)
    with pytest.raises(TypeError):
        wire.reader.take("many")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        wire.writer.publish_many(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        wire.writer.loan("large")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        wire.writer.loan(-1)
    assert wire.reader.take(-1) == []
