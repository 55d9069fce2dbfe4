# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import contextlib
import mmap
from pathlib import Path

import numpy as np
import pytest

import lunar
from lunar._native import _codec
from lunar.messages import decode, encode, encode_into, to_fbs
from lunar.messages.schema import Scalar
from lunar.messages.types import message_type
from tests.unit.messages.forms import ANNOTATED, Form, full_wheel, load_text, loaded


@pytest.fixture(params=["annotated", "fbs"])
def form(request: pytest.FixtureRequest) -> Form:
    return ANNOTATED if request.param == "annotated" else loaded()


def root_of(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


# ---- encoding ----


def test_both_forms_of_a_type_write_the_same_bytes() -> None:
    assert encode(full_wheel(ANNOTATED)) == encode(full_wheel(loaded()))
    assert message_type(ANNOTATED.Wheel).hash == message_type(loaded().Wheel).hash
    assert decode(ANNOTATED.Wheel, encode(full_wheel(loaded()))) == full_wheel(ANNOTATED)


def test_encode_into_memory_of_the_callers(form: Form) -> None:
    wheel = full_wheel(form)
    data = encode(wheel)
    for buffer in (bytearray(len(data) + 50), np.zeros(len(data) + 50, np.uint8), mmap.mmap(-1, len(data) + 50)):
        assert encode_into(wheel, buffer) == len(data)
        assert bytes(memoryview(buffer))[: len(data)] == data
        assert encode_into(wheel, buffer, offset=16) == len(data)
        assert bytes(memoryview(buffer))[16 : 16 + len(data)] == data
        assert not any(bytes(memoryview(buffer))[16 + len(data) :])
    exact = bytearray(len(data))
    assert encode_into(wheel, exact) == len(data)
    assert exact == data


def test_what_does_not_fit_writes_nothing(form: Form) -> None:
    wheel = full_wheel(form)
    size = len(encode(wheel))
    buffer = bytearray(b"\xee" * size)
    for offset in (1, size, size + 1, -1, -size):
        with pytest.raises(ValueError, match=rf"{size} bytes do not fit into a buffer of {size} at offset {offset}"):
            encode_into(wheel, buffer, offset)
    with pytest.raises(ValueError, match="do not fit"):
        encode_into(wheel, bytearray(size - 1))
    assert buffer == b"\xee" * size
    with pytest.raises((BufferError, TypeError)):
        encode_into(wheel, bytes(size))


def test_a_wrong_value_writes_nothing() -> None:
    @lunar.message
    class M:
        names: list[str]
        must: str = lunar.field(required=True)

    message = M(names=["a"], must="b")
    message.names.append(5)
    buffer = bytearray(b"\xee" * 200)
    with pytest.raises(lunar.FieldError, match=r"M.names"):
        encode_into(message, buffer)
    with pytest.raises(lunar.FieldError, match=r"M.must: expected str: it is required"):
        encode_into(M(names=["a"]), buffer)
    assert buffer == b"\xee" * 200


@pytest.mark.parametrize("wrong", [None, 5, b"bytes", {"a": 1}, ANNOTATED.Wheel])
def test_only_messages_are_encoded(wrong: object) -> None:
    with pytest.raises(TypeError):
        encode(wrong)
    with pytest.raises(TypeError):
        encode_into(wrong, bytearray(100))


def test_defaults_are_left_out(form: Form) -> None:
    empty = len(encode(form.Wheel()))
    assert empty <= 16
    same = form.Wheel(stamp_ns=0, torque=1.5, on=False, mode=0, access=0, label=None, ticks=[], names=[], loads=[])
    assert encode(same) == encode(form.Wheel())
    assert len(encode(form.Wheel(torque=0.0))) > empty
    assert len(encode(form.Wheel(key=""))) > empty  # its default is "k"
    assert len(encode(form.Wheel(spare=0))) > empty  # absence is told apart
    assert decode(form.Wheel, encode(form.Wheel(spare=0))).spare == 0


def test_equal_vtables_are_written_once(form: Form) -> None:
    sizes = [len(encode(form.Wheel(tags=[form.Tag(number=9)] * count))) for count in (1, 2, 3, 30)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == 12  # an offset to the table; one to the vtable; the number
    assert sizes[3] - sizes[2] == 27 * 12


def test_every_field_lies_aligned(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        """
        struct Wide (force_align: 16) { a: double; b: ubyte; }
        table M { a: ubyte; b: double; c: ushort; d: [double]; e: string; f: Wide; g: [Wide]; h: [ubyte]; i: [long]; }
        root_type M;
        """,
    )
    for length in range(18):
        message = form.M(
            a=1,
            b=2.0,
            c=3,
            d=[4.0],
            e="x" * length,
            f=form.Wide(5, 6),
            g=[form.Wide(7, 8)] * 2,
            h=bytes(length),
            i=[9],
        )
        data = encode(message)
        view = decode(form.M, data, verify=True)  # which checks all alignments
        assert view == message
        assert view.d.flags.aligned
        base = np.frombuffer(data, np.uint8).ctypes.data
        assert (view.d.ctypes.data - base) % 8 == (view.i.ctypes.data - base) % 8 == 0


def test_a_large_vector_is_copied_once_and_right(form: Form) -> None:
    ticks = np.arange(1 << 20, dtype=np.int32)
    data = encode(form.Wheel(ticks=ticks))
    assert len(data) < ticks.nbytes + 64
    assert (decode(form.Wheel, data).ticks == ticks).all()


def test_a_message_of_two_gibibytes_is_refused(form: Form) -> None:
    with mmap.mmap(-1, 1 << 31) as memory:  # of which no page is ever touched
        message = form.Wheel(raw=memory)
        with pytest.raises(lunar.VerificationError, match="2 GiB"):
            encode(message)
        with pytest.raises(lunar.VerificationError, match="2 GiB"):
            decode(form.Wheel, memory)


# ---- file identifiers ----


def test_a_file_identifier_is_written_and_checked(tmp_path: Path) -> None:
    form = load_text(tmp_path, 'table M { a: int; sub: N; } table N { a: int; } root_type M; file_identifier "LUNA";')
    data = encode(form.M(a=1, sub=form.N(2)))
    assert data[4:8] == b"LUNA"
    assert decode(form.M, data).sub.a == 2
    with pytest.raises(lunar.VerificationError, match="another file identifier"):
        decode(form.M, data[:4] + b"LUNB" + data[8:])
    with pytest.raises(lunar.VerificationError, match="too short"):
        decode(form.M, data[:7])
    assert decode(form.N, encode(form.N(3))).a == 3  # only the root has one


# ---- decoding ----


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_decode_takes_any_buffer(form: Form, kind: type) -> None:
    assert decode(form.Wheel, kind(encode(full_wheel(form)))) == full_wheel(form)


def test_arrays_are_views_of_the_buffer(form: Form) -> None:
    buffer = np.frombuffer(encode(full_wheel(form)), np.uint8)
    view = decode(form.Wheel, buffer)
    for array in (view.ticks, view.raw, view.weights, view.pose.spread):
        assert np.shares_memory(array, buffer)
        assert not array.flags.writeable


def test_decoding_into_another_class_does_not_crash(form: Form) -> None:
    data = encode(full_wheel(form))
    with pytest.raises(lunar.VerificationError, match=r"^not a bench.Tag: "):
        decode(form.Tag, data)
    for cls in (form.Tag, form.Point, form.Pose):  # to a struct, any bytes of its size are right
        with contextlib.suppress(lunar.VerificationError):
            repr(decode(cls, data, verify=False))


@pytest.mark.parametrize("wrong", [bytes, int, object, lunar.Message])
def test_decode_needs_a_message_class(wrong: type) -> None:
    with pytest.raises(lunar.TypeMismatch, match="decoding: got "):
        decode(wrong, b"\0" * 20)


@pytest.mark.parametrize("wrong", [None, 5, "text", [1, 2]])
def test_decode_needs_a_buffer(form: Form, wrong: object) -> None:
    with pytest.raises(TypeError):
        decode(form.Tag, wrong)


def test_a_buffer_with_gaps_is_refused(form: Form) -> None:
    with pytest.raises((BufferError, ValueError)):
        decode(form.Tag, np.zeros(40, np.uint8)[::2])


@pytest.mark.parametrize("message", ["wheel", "point"])
def test_every_truncation_is_refused_or_read_without_harm(form: Form, message: str) -> None:
    whole = full_wheel(form) if message == "wheel" else form.Point(1, 2)
    cls, data = type(whole), encode(whole)
    assert decode(cls, data) == whole
    for length in range(len(data)):
        with pytest.raises(lunar.VerificationError):
            decode(cls, data[:length])
        with contextlib.suppress(lunar.VerificationError):
            repr(decode(cls, data[:length], verify=False))


def test_what_is_wrong_is_refused_when_it_is_read_if_not_before(form: Form) -> None:
    data = bytearray(encode(form.Wheel(label="abc", speed=2.0)))
    place = data.index(b"abc")
    data[place] = 0xFF
    with pytest.raises(lunar.VerificationError, match=r"not a bench.Wheel: field label is not UTF-8"):
        decode(form.Wheel, bytes(data))
    view = decode(form.Wheel, bytes(data), verify=False)
    assert view.speed == 2.0
    with pytest.raises(lunar.VerificationError, match="not UTF-8"):
        _ = view.label
    with pytest.raises(lunar.VerificationError):
        view.copy()
    with pytest.raises(lunar.VerificationError):
        encode(view)
    with pytest.raises(lunar.VerificationError):
        repr(view)
    with pytest.raises(lunar.VerificationError):
        _ = view == form.Wheel(label="abc", speed=2.0)


def test_a_required_field_that_is_absent_is_refused_when_verified(tmp_path: Path) -> None:
    form = load_text(tmp_path, "table M { a: string (required); b: int; } table Loose { a: string; b: int; }")
    data = encode(form.Loose(b=5))
    with pytest.raises(lunar.VerificationError, match="not a M: field a is required and absent"):
        decode(form.M, data)
    assert decode(form.M, data, verify=False).b == 5
    assert decode(form.M, data, verify=False).a is None


def test_a_subscription_that_verifies_refuses_what_one_that_trusts_reads_later(form: Form) -> None:
    kind = message_type(form.Wheel)
    wrong = memoryview(b"\xff" * 64)
    with pytest.raises(lunar.VerificationError, match=r"not a bench.Wheel"):
        kind.decoder(verify=True)(wrong)
    for data in (wrong, memoryview(b""), memoryview(b"\x04\0\0\0")):
        with pytest.raises(lunar.VerificationError):
            _ = kind.decoder(verify=False)(data).speed
    sample = memoryview(encode(full_wheel(form)))
    assert kind.decoder(verify=True)(sample) == kind.decoder(verify=False)(sample) == full_wheel(form)


# ---- a struct alone ----


def test_a_struct_alone_travels_in_a_table(form: Form) -> None:
    pose = full_wheel(form).pose
    data = encode(pose)
    view = decode(form.Pose, data)
    assert view == pose == view.copy()
    assert encode(view) == data
    assert encode(pose.at) == encode(form.Point(5, 6))  # of a struct within another

    @lunar.message
    class Box:
        value: form.Pose = lunar.field(required=True)

    assert decode(Box, data).value == pose
    assert decode(form.Pose, encode(Box(value=pose))) == pose
    with pytest.raises(lunar.VerificationError, match="the struct is absent"):
        decode(form.Pose, encode(form.Tag()))


# ---- schemas ----


def test_a_class_prints_its_schema(tmp_path: Path, form: Form) -> None:
    text = to_fbs(form.Wheel)
    again = load_text(tmp_path, text)
    assert message_type(again.Wheel).hash == message_type(form.Wheel).hash
    assert "root_type" not in to_fbs(form.Point)


# ---- the plan itself ----


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="align"):
        _codec.Plan("M", False, 0, 3, None)
    with pytest.raises(ValueError, match="four bytes"):
        _codec.Plan("M", False, 0, 1, b"ABC")
    plan = _codec.Plan("M", False, 0, 1, None)
    with pytest.raises(TypeError, match="message class"):
        plan.fill(int, ())
    with pytest.raises(TypeError):
        plan.fill(lunar.Message, (1,))
    with pytest.raises(RuntimeError, match="once"):
        ANNOTATED.Tag.__lunar_plan__.fill(ANNOTATED.Tag, ())
    with pytest.raises(RuntimeError, match="once"):
        ANNOTATED.Tag.__lunar_plan__.__init__("Tag", False, 0, 1, None)
    with pytest.raises(TypeError):
        type("Odd", (lunar.Message,), {"__lunar_plan__": _codec.Plan("Odd", False, 0, 1, None)})()


def test_a_field_reads_from_messages_of_its_class_only() -> None:
    field = ANNOTATED.Tag.text
    assert field.__get__(ANNOTATED.Tag("a")) == "a"
    for other in (ANNOTATED.Point(), 5):
        with pytest.raises(TypeError, match=r"this is a field of bench.Tag"):
            field.__get__(other)
        with pytest.raises(TypeError, match=r"this is a field of bench.Tag"):
            field.__set__(other, "a")


def test_the_numbers_of_scalars_are_those_of_the_native_side() -> None:
    assert [scalar.fbs_name for scalar in Scalar] == [
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float32",
        "float64",
    ]
