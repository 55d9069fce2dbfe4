"""Messages as dicts and JSON, against flatc's."""

# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import enum
import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

import lunar
from lunar.messages import decode, encode, from_dict, from_json, to_dict, to_json
from lunar.messages.flatc import find_flatc
from tests.unit.messages.forms import ANNOTATED, FBS, Form, full_wheel, load_text, loaded


@pytest.fixture(params=["annotated", "fbs"])
def form(request: pytest.FixtureRequest) -> Form:
    return ANNOTATED if request.param == "annotated" else loaded()


def flatc_json(folder: Path, data: bytes) -> dict[str, object]:
    (folder / "bench.fbs").write_text(FBS)
    (folder / "message.bin").write_bytes(data)
    options = ["--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", str(folder)]
    command = [find_flatc(), *options, str(folder / "bench.fbs"), "--", str(folder / "message.bin")]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((folder / "message.json").read_text())


def flatc_binary(folder: Path, text: str) -> bytes:
    (folder / "bench.fbs").write_text(FBS)
    (folder / "typed.json").write_text(text)
    command = [find_flatc(), "--binary", "-o", str(folder), str(folder / "bench.fbs"), str(folder / "typed.json")]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "typed.bin").read_bytes()


FULL = {
    "stamp_ns": -(2**62),
    "speed": float(np.float32(0.1)),
    "torque": -0.0,
    "exact": 0.1,
    "small": 255,
    "on": True,
    "label": "rädchen",
    "ticks": [-1, 2, 3],
    "raw": [0, 255],
    "weights": [0.5, -0.5],
    "mode": "AUTO",
    "access": "READ WRITE",
    "pose": {
        "at": {"x": 5.0, "y": 6.0},
        "spread": [7.0, 8.0, 9.0],
        "corners": [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}],
        "mode": "MANUAL",
    },
    "points": [{"x": 1.0, "y": 1.0}, {"x": 2.0, "y": 2.0}],
    "tag": {"text": "t", "number": 4},
    "tags": [{"number": 3}, {"text": "u", "number": 3}],
    "names": ["", "n"],
    "load_type": "Point",
    "load": {"x": 9.0, "y": 9.0},
    "loads_type": ["Tag", "String", "Point"],
    "loads": [{"text": "v", "number": 3}, "w", {"x": 8.0, "y": 8.0}],
    "spare": 0,
    "key": "",
}


def test_a_message_as_a_dict(form: Form) -> None:
    wheel = full_wheel(form)
    for each in (wheel, decode(form.Wheel, encode(wheel)), wheel.copy()):
        assert to_dict(each) == FULL
        assert [*to_dict(each)] == [*FULL]
        assert from_dict(form.Wheel, to_dict(each)) == wheel
        assert from_json(form.Wheel, to_json(each)) == wheel
    assert from_json(form.Wheel, to_json(wheel).encode()) == wheel
    assert json.loads(to_json(wheel)) == FULL
    assert "rädchen" in to_json(wheel)
    assert '\n    "x": 5.0' in to_json(wheel.pose, indent=2)


def test_flatc_prints_the_same(tmp_path: Path, form: Form) -> None:
    printed = flatc_json(tmp_path, encode(full_wheel(form)))
    assert printed.pop("speed") == pytest.approx(FULL["speed"])  # with fewer digits
    expected = {name: value for name, value in FULL.items() if name != "speed"}
    assert printed == expected


def test_flatc_reads_what_is_printed(tmp_path: Path, form: Form) -> None:
    wheel = full_wheel(form)
    assert decode(form.Wheel, flatc_binary(tmp_path, to_json(wheel))) == wheel
    odd = form.Wheel(speed=math.inf, exact=-math.inf, weights=[math.inf], label='"\\\n\x01𝄞', access=form.Access.WRITE)
    assert decode(form.Wheel, flatc_binary(tmp_path, to_json(odd))) == odd
    assert math.isnan(decode(form.Wheel, flatc_binary(tmp_path, to_json(form.Wheel(exact=math.nan)))).exact)


def test_absent_fields_are_left_out_and_defaults_are_not(form: Form) -> None:
    plain = to_dict(form.Wheel())
    assert plain == {
        "stamp_ns": 0,
        "speed": 0.0,
        "torque": 1.5,
        "exact": 0.0,
        "small": 0,
        "on": False,
        "mode": "PARKED",
        "access": 0,
        "key": "k",
        **{name: [] for name in ("ticks", "raw", "weights", "points", "tags", "names", "loads_type", "loads")},
    }
    assert from_dict(form.Wheel, plain) == form.Wheel()
    assert from_dict(form.Wheel, {}) == form.Wheel()
    assert (
        from_dict(form.Wheel, dict.fromkeys(("label", "pose", "load", "load_type", "spare", "names"))) == form.Wheel()
    )


def test_values_are_pythons_own(form: Form) -> None:
    def walk(value: object) -> None:
        assert type(value) in (dict, list, str, int, float, bool)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(each)

    walk(to_dict(full_wheel(form)))


def test_enums_by_name_or_number(form: Form) -> None:
    for mode in ("MANUAL", 1):
        assert from_dict(form.Wheel, {"mode": mode}).mode is form.Mode.MANUAL
    for access, flags in (("READ", 1), ("WRITE READ", 3), ("READ READ", 1), (3, 3), (0, 0), (8, 8)):
        assert from_dict(form.Wheel, {"access": access}).access == flags
    assert to_dict(form.Wheel(access=8))["access"] == 8
    assert to_dict(form.Wheel(access=9))["access"] == 9  # one of the flags has no name
    assert to_dict(form.Wheel(access=2))["access"] == "WRITE"


@pytest.mark.parametrize(
    ("plain", "path", "expected"),
    [
        ({"speed": "fast"}, "bench.Wheel.speed", "float32"),
        ({"stamp_ns": 0.5}, "bench.Wheel.stamp_ns", "int64"),
        ({"stamp_ns": True, "on": 5}, "bench.Wheel.on", "bool"),
        ({"nothing": 1}, "bench.Wheel.nothing", "one of its fields: stamp_ns"),
        ({"speed_type": 1}, "bench.Wheel.speed_type", "one of its fields"),
        ({"mode": "FLYING"}, "bench.Wheel.mode", "one of PARKED, MANUAL, AUTO"),
        ({"mode": "PARKED AUTO"}, "bench.Wheel.mode", "one of PARKED, MANUAL, AUTO"),
        ({"mode": 9}, "bench.Wheel.mode", "bench.Mode"),
        ({"access": "READ FLY"}, "bench.Wheel.access", "one of READ, WRITE"),
        ({"access": ""}, "bench.Wheel.access", "one of READ, WRITE"),
        ({"access": -1}, "bench.Wheel.access", "bench.Access"),
        ({"label": 5}, "bench.Wheel.label", "str"),
        ({"tag": 5}, "bench.Wheel.tag", "an object with the fields of bench.Tag"),
        ({"tag": {"text": 5}}, "bench.Tag.text", "str"),
        ({"tag": {"txt": "a"}}, "bench.Tag.txt", "one of its fields: text, number"),
        ({"tags": {"text": "a"}}, "bench.Wheel.tags", "a list"),
        ({"tags": [None]}, "bench.Wheel.tags", "an object with the fields of bench.Tag"),
        ({"points": [{"x": "1"}]}, "bench.Point.x", "float64"),
        ({"names": "abc"}, "bench.Wheel.names", "a list"),
        ({"names": [1]}, "bench.Wheel.names", "a sequence of str"),
        ({"ticks": [1.5]}, "bench.Wheel.ticks", "a sequence of int32"),
        ({"ticks": "12"}, "bench.Wheel.ticks", "a sequence of int32"),
        ({"pose": {"spread": [1]}}, "bench.Pose.spread", "3 of float32"),
        ({"pose": {"corners": []}}, "bench.Pose.corners", "2 of bench.Point"),
        ({"load": {"x": 1}}, "bench.Wheel.load", "its alternative in load_type: one of Tag, Point, String"),
        ({"load": {"x": 1}, "load_type": "Car"}, "bench.Wheel.load", "its alternative in load_type"),
        ({"load": {"x": 1}, "load_type": 77}, "bench.Wheel.load", "its alternative in load_type"),
        ({"load": {"x": 1}, "load_type": ["Tag"]}, "bench.Wheel.load", "its alternative in load_type"),
        ({"load": "text", "load_type": "Tag"}, "bench.Wheel.load", "an object with the fields of bench.Tag"),
        ({"loads": ["a"], "loads_type": []}, "bench.Wheel.loads", "as many alternatives in loads_type as values"),
        ({"loads": ["a"]}, "bench.Wheel.loads", "its alternative in loads_type"),
        ({"loads": [None], "loads_type": [None]}, "bench.Wheel.loads", "its alternative in loads_type"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(form: Form, plain: dict[str, object], path: str, expected: str) -> None:
    for read in (lambda: from_dict(form.Wheel, plain), lambda: from_json(form.Wheel, json.dumps(plain))):
        with pytest.raises(lunar.FieldError) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: expected {expected}")


def test_alternatives_by_number(form: Form) -> None:
    plain = {"load": "text", "load_type": 3, "loads": ["a", {"x": 1}], "loads_type": [3, 2]}
    wheel = from_dict(form.Wheel, plain)
    assert (wheel.load, list(wheel.loads)) == ("text", ["a", form.Point(1, 0)])


@pytest.mark.parametrize("text", ["", "{", "nope", '{"a": }', b"\xff"])
def test_what_is_no_json_is_refused(form: Form, text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(form.Wheel, text)


@pytest.mark.parametrize("text", ["[]", "5", '"a"', "null", "true"])
def test_json_that_is_no_object_is_refused(form: Form, text: str) -> None:
    with pytest.raises(lunar.FieldError, match=r"bench.Wheel.\(message\): expected a JSON object, got "):
        from_json(form.Wheel, text)


def test_deep_json_is_refused_and_not_a_crash() -> None:
    @lunar.message
    class Link:
        next: "Link | None"

    text = '{"next": ' * 100_000 + "{}" + "}" * 100_000
    with pytest.raises(RecursionError):
        from_json(Link, text)


def test_structs_have_a_plain_form_too(form: Form) -> None:
    pose = full_wheel(form).pose
    assert to_dict(pose) == FULL["pose"]
    assert from_dict(form.Pose, FULL["pose"]) == pose


def test_alternatives_of_a_newer_schema(tmp_path: Path) -> None:
    text = (
        "table A { x: int; } table B { x: int; } enum E : byte { P%s } union U { A%s } table M { u: U; us: [U]; e: E; }"
    )
    old = load_text(tmp_path, text % ("", ""), "old.fbs")
    new = load_text(tmp_path, text % (", Q", ", B"), "new.fbs")
    view = decode(old.M, encode(new.M(u=new.B(1), us=[new.B(2), new.A(3)], e=1)))
    plain = to_dict(view)
    assert plain == {"us_type": ["NONE", "A"], "us": [None, {"x": 3}], "e": 1}
    del plain["e"]
    assert list(from_dict(old.M, plain).us) == [None, old.A(3)]


def test_shapes_are_flat_as_in_the_schema() -> None:
    @lunar.message
    class M:
        grid: lunar.Array[lunar.float32, None, 2]
        modes: lunar.Array[ANNOTATED.Mode]
        flags: lunar.Array[bool]

    message = M(grid=[[1, 2], [3, 4]], modes=[2, 0], flags=[True, False])
    plain = to_dict(message)
    assert plain["grid"] == [1.0, 2.0, 3.0, 4.0]
    assert plain["flags"] == [True, False]
    assert from_dict(M, plain) == message
    assert from_dict(M, {"grid": [[1, 2], [3, 4]]}).grid.shape == (2, 2)


def test_a_field_called_as_an_enums_attribute() -> None:
    class Odd(enum.IntEnum):
        name = 0
        value = 1

    @lunar.message
    class M:
        odd: Odd

    assert to_dict(M(odd=Odd.value)) == {"odd": "value"}
    assert from_dict(M, {"odd": "name"}) == M()
    assert to_dict(M()) == {"odd": "name"}


def test_only_message_classes_have_a_plain_form() -> None:
    for call in (lambda: to_dict(5), lambda: from_dict(int, {}), lambda: from_json(bytes, "{}"), lambda: to_json("a")):
        with pytest.raises(TypeError):
            call()
