"""Random buffers.

What the verifier passes can be read to the end, by the official runtime as well; what is read without it is a value or
a VerificationError, whoever writes to the memory meanwhile.
"""

import math
import mmap
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from operator import getitem
from typing import Any

import pytest

from lunar import msgs
from lunar.errors import VerificationError
from lunar.messages import Message, decode, encode, to_dict
from lunar.messages.schema import Schema
from tests.fuzz.chance import lie, seeds
from tests.unit.messages.every import every, full_message
from tests.unit.messages.official import official_bytes, official_tree, tree_of

pytestmark = pytest.mark.hostile

BATCH = 100
# What is read of a buffer that nobody verified may go on and on.
MAX_READS = 3000


def _standard_messages() -> list[Any]:
    header = msgs.Header(stamp=msgs.Time(sec=1, nanosec=2), frame_id="base")
    pair = msgs.KeyValue(key="k", value="v")
    statuses = [msgs.DiagnosticStatus(level=each, name="motor", values=[pair] * each) for each in msgs.DiagnosticLevel]
    return [
        msgs.Imu(header=header, orientation=msgs.Quaternion(w=1.0)),
        msgs.Image(header=header, height=2, width=2, encoding="rgb8", step=6, data=bytes(12)),
        msgs.JointState(header=header, name=["a", "b"], position=[1.0, 2.0], velocity=[], effort=[3.0]),
        msgs.DiagnosticArray(header=header, status=statuses),
    ]


@cache
def _samples() -> dict[str, Any]:
    e: Any = every()
    made = [full_message(), *_standard_messages()]
    return {type(message).__name__: [message] for message in made} | {
        "Every": [full_message(), e.Every(name="n"), e.Every(name="n", tree=full_message().tree)],
        "Tree": [full_message().tree],
        "Wide": [full_message().wide],
    }


def _schema_of(cls: Any) -> tuple[Schema, str]:
    schema, name = cls.__lunar_schema__
    return schema, name


@cache
def _blobs(name: str) -> list[bytes]:
    """Valid buffers, of our writer and of the official one, which lays them out from the other end."""
    ours = [encode(message) for message in _samples()[name]]
    schema, full_name = _schema_of(type(_samples()[name][0]))
    if full_name == "every.Wide":
        return ours
    return ours + [official_bytes(schema, full_name, tree_of(schema, full_name, each)) for each in _samples()[name]]


# ---- spoiling -------------------------------------------------------------------------------------------------------


def _spoil_word(chance: random.Random, buffer: bytearray) -> None:
    bits = chance.choice([8, 16, 16, 32, 32, 32, 64])
    size = bits // 8
    if len(buffer) < size:
        return
    at = chance.randrange(len(buffer) - size + 1) // size * size
    now = int.from_bytes(buffer[at : at + size], "little")
    near = (now + chance.randrange(-64, 65)) % (1 << bits)
    value = chance.choice([near, near, lie(chance, now, bits)])
    buffer[at : at + size] = value.to_bytes(size, "little")


def _spoil_offset(chance: random.Random, buffer: bytearray) -> None:
    """Lets a word that may be an offset point to another place, so that things are shared or taken for others."""
    if len(buffer) < 8:
        return
    at = chance.randrange(len(buffer) // 4) * 4
    ahead = len(buffer) - at
    buffer[at : at + 4] = struct.pack("<I", chance.randrange(ahead // 4 + 1) * 4)[: len(buffer) - at]


def _spoilt(chance: random.Random, blobs: Sequence[bytes]) -> bytes:
    buffer = bytearray(chance.choice(blobs))
    if chance.random() < 0.02:
        buffer[4:] = chance.randbytes(chance.randrange(200))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 8])):
        match chance.randrange(12):
            case 0 if buffer:
                del buffer[chance.randrange(len(buffer)) :]
            case 1 if buffer:  # splice
                other, at = chance.choice(blobs), chance.randrange(len(buffer)) // 4 * 4
                begin = chance.randrange(len(other)) // 4 * 4
                buffer[at : at + 64] = other[begin : begin + 64]
            case 2 if buffer:
                at = chance.randrange(len(buffer)) // 4 * 4
                buffer[at:at] = chance.randbytes(4 * chance.randrange(1, 5))
            case 3 if buffer:
                at = chance.randrange(len(buffer)) // 4 * 4
                del buffer[at : at + 4 * chance.randrange(1, 5)]
            case 4 | 5 | 6:
                _spoil_offset(chance, buffer)
            case _:
                _spoil_word(chance, buffer)
    return bytes(buffer)


# ---- reading --------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads everything, up to a number of reads; a field that is refused is passed over, unless all must be right."""

    def __init__(self, *, strict: bool) -> None:
        self.reads = 0
        self.refused = 0
        self._strict = strict

    def read(self, value: Any) -> None:
        self.reads += 1
        if self.reads > MAX_READS and not self._strict:
            return
        if isinstance(value, Message):
            for name in value.__match_args__:
                self._step(partial(getattr, value, name))
        elif hasattr(value, "nbytes"):
            value.tolist()
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for index in range(min(len(value), MAX_READS)):
                if self.reads <= MAX_READS or self._strict:
                    self._step(partial(getitem, value, index))

    def _step(self, get: Callable[[], Any]) -> None:
        try:
            value = get()
        except VerificationError:
            if self._strict:
                raise
            self.refused += 1
        else:
            self.read(value)


def _as_a_whole(message: Any, other: Any) -> Iterator[Callable[[], Any]]:
    yield message.copy
    yield lambda: encode(message)
    yield lambda: repr(message)
    yield lambda: to_dict(message)
    yield lambda: message == other
    yield lambda: other == message
    for name in message.__match_args__:
        yield partial(lambda name: repr(getattr(message, name)), name)


def _agrees(cls: Any, blob: bytes, message: Any) -> None:
    """The verifier passed it: everything can be done with it, and the official runtime reads the same."""
    _Reader(strict=True).read(message)
    copy = message.copy()
    assert repr(copy) == repr(message)
    assert to_dict(copy) == to_dict(message) or "nan" in repr(message)
    assert message == copy or "nan" in repr(message)
    schema, name = _schema_of(cls)
    if name != "every.Wide":
        assert repr(official_tree(schema, name, blob)) == repr(tree_of(schema, name, message))
    assert repr(decode(cls, encode(message))) == repr(message)


def _survives(message: Any, other: Any) -> None:
    """Nobody verified it: each thing gives a value or a VerificationError."""
    _Reader(strict=False).read(message)
    for act in _as_a_whole(message, other):
        try:
            act()
        except VerificationError:
            continue


@pytest.mark.parametrize("name", [*_samples()])
def test_spoilt_buffers(name: str, rounds: Callable[[int, int], int]) -> None:
    passed = total = 0
    sample = _samples()[name][0]
    cls = type(sample)
    for _, chance in seeds(rounds(25, 1000)):
        for _ in range(BATCH):
            blob = _spoilt(chance, _blobs(name))
            total += 1
            try:
                message = decode(cls, blob, verify=True)
            except VerificationError:
                pass
            else:
                passed += 1
                _agrees(cls, blob, message)
            try:
                trusted = decode(cls, blob, verify=False)
            except VerificationError:
                continue
            _survives(trusted, sample)
    assert 0 < passed < total


@pytest.mark.parametrize("name", [*_samples()])
def test_every_truncation(name: str) -> None:
    sample = _samples()[name][0]
    for blob in _blobs(name):
        for size in range(len(blob)):
            cut = blob[:size]
            try:
                message = decode(type(sample), cut, verify=True)
            except VerificationError:
                pass
            else:
                assert not any(blob[size:]), "only padding may be missing"
                _agrees(type(sample), cut, message)
            if size % 5 == 0:
                try:
                    _survives(decode(type(sample), cut, verify=False), sample)
                except VerificationError:
                    continue


# ---- sharing --------------------------------------------------------------------------------------------------------


def _bomb(levels: int, width: int) -> bytes:
    """A tree whose every level holds the next one `width` times: few bytes, and width ** levels tables."""
    vtable = struct.pack("<HHHHHH", 12, 8, 0, 0, 4, 0)  # of Tree: only `children`, which has the id 2
    out = bytearray(struct.pack("<I", 16) + vtable)
    for level in range(levels):
        table = len(out)
        last = level == levels - 1
        count = 0 if last else width
        out += struct.pack("<iI", table - 4, 4) + struct.pack("<I", count)
        vector = len(out)
        out += b"".join(struct.pack("<I", 4 * (count - i)) for i in range(count))
        assert last or len(out) == vector + 4 * count
    return bytes(out)


def _text_bomb(count: int, length: int) -> bytes:
    """An Every whose names are all the same long text."""
    blob = bytearray(encode(every().Every(name="n", names=["x"] * count + ["y" * length])))
    at = blob.index(struct.pack("<I", count + 1)) + 4
    (last,) = struct.unpack_from("<I", blob, at + 4 * count)
    for i in range(count):
        struct.pack_into("<I", blob, at + 4 * i, last + 4 * (count - i))
    return bytes(blob)


BOMBS = [
    ("Tree", _bomb(30, 8)),
    ("Tree", _bomb(3, 3000)),
    ("Tree", _bomb(60, 2)),
    ("Every", _text_bomb(20_000, 1 << 20)),
]


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_a_small_buffer_that_describes_a_huge_message(number: int) -> None:
    name, blob = BOMBS[number]
    cls = getattr(every(), name)
    with pytest.raises(VerificationError, match="larger than its bytes can justify"):
        decode(cls, blob)
    message, twin = decode(cls, blob, verify=False), decode(cls, blob, verify=False)
    part = "children" if name == "Tree" else "names"
    acts: list[Callable[[], object]] = [
        message.copy,
        lambda: encode(message),
        lambda: repr(message),
        lambda: to_dict(message),
        lambda: message == twin,
        lambda: getattr(message, part) == getattr(twin, part),
        lambda: repr(getattr(message, part)),
    ]
    for act in acts:
        with pytest.raises(VerificationError, match="larger than its bytes can justify"):
            act()


def test_what_is_not_shared_is_not_limited() -> None:
    e: Any = every()
    leaf = e.Leaf(name="leaf")
    message = e.Every(name="n", leaves=[leaf] * 20_000, names=["x" * 100] * 5000, many=["y", leaf, e.Pair()] * 3000)
    read = decode(e.Every, encode(message))
    for trusted in (read, decode(e.Every, encode(message), verify=False)):
        assert trusted.copy() == message
        assert trusted == read
        assert encode(trusted) == encode(message)
    received = e.Tree(others=[read.leaves[0]] * 50, children=[])
    assert len(decode(e.Tree, encode(received)).others) == 50


# ---- a buffer that changes ------------------------------------------------------------------------------------------

MEDDLER = """
import mmap, random, sys
memory = mmap.mmap(int(sys.argv[1]), 0)
size = int(sys.argv[2])
chance = random.Random(int(sys.argv[3]))
good = memory[:size]
print("ready", flush=True)
while memory[-1] == 0:
    for _ in range(2000):
        at = chance.randrange(size // 4) * 4
        word = bytes([chance.choice([0, 4, 8, 12, 255, chance.randrange(256)]), chance.choice([0, 0, 255]), 0, 0])
        for _ in range(chance.choice([1, 1, 20])):
            memory[at : at + 4] = word
            memory[at : at + 4] = good[at : at + 4]
"""


@pytest.mark.parametrize("name", ["Every", "Tree", "DiagnosticArray"])
def test_a_process_that_writes_while_we_read(name: str, rounds: Callable[[int, int], int]) -> None:
    sample, blob = _samples()[name][0], _blobs(name)[0]
    size = math.ceil((len(blob) + 1) / mmap.PAGESIZE) * mmap.PAGESIZE
    fd = os.memfd_create("fuzz")
    os.ftruncate(fd, size)
    with mmap.mmap(fd, size) as memory:
        memory[: len(blob)] = blob
        seed, _ = next(seeds(1))
        command = [sys.executable, "-c", MEDDLER, str(fd), str(len(blob)), str(seed)]
        with subprocess.Popen(command, pass_fds=[fd], stdout=subprocess.PIPE) as meddler:
            os.close(fd)
            try:
                assert meddler.stdout is not None
                assert meddler.stdout.readline() == b"ready\n"
                _read_what_changes(type(sample), memory, len(blob), sample, rounds(600, 20_000))
            finally:
                memory[-1] = 1
            assert meddler.wait(30) == 0


def _read_what_changes(cls: Any, memory: mmap.mmap, size: int, sample: Any, count: int) -> None:
    view = memoryview(memory)
    window = view[:size].toreadonly()
    outcomes = set()
    message: Any = None
    for turn in range(count):
        try:
            message = decode(cls, window, verify=turn % 2 == 0)
            _survives(message, sample)
            outcomes.add("read")
        except VerificationError:
            outcomes.add("refused")
    del message  # it holds the window
    window.release()
    view.release()
    assert "read" in outcomes
