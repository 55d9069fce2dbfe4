import math
from typing import Annotated

import pytest

from lunar.errors import SchemaError
from lunar.messages import fields
from lunar.messages.fields import float32, float64, int8, int32, uint8, uint64
from lunar.messages.schema import (
    Field,
    Named,
    Scalar,
)
from tests.unit.messages.annotated import (
    Access,
    Gear,
    Mode,
    Point,
    one_field,
)


@pytest.mark.parametrize(
    ("annotation", "scalar"),
    [
        (bool, Scalar.BOOL),
        (int, Scalar.INT64),
        (float, Scalar.FLOAT64),
        *((getattr(fields, scalar.fbs_name), scalar) for scalar in Scalar if scalar is not Scalar.BOOL),
    ],
    ids=str,
)
def test_a_number_has_its_size_and_is_0_when_absent(annotation: object, scalar: Scalar) -> None:
    found = one_field(annotation)
    assert found == Field("f", scalar, 0, default=0)
    assert isinstance(found.default, float) == scalar.is_float
    assert one_field(Annotated[annotation, "words for others"]) == found


@pytest.mark.parametrize(
    ("annotation", "default", "stored"),
    [
        (bool, True, 1),
        (int8, -128, -128),
        (uint64, 2**64 - 1, 2**64 - 1),
        (int32, Mode.AUTO, 2),
        (float32, 3, 3.0),
        (float32, math.inf, math.inf),
        (float64, 1e300, 1e300),
        (Mode, Mode.AUTO, 2),
        (Mode, 2, 2),
        (Gear, Gear.SECOND, 2),
        (Access, Access.READ | Access.WRITE, 3),
    ],
    ids=repr,
)
def test_a_default_is_stored_as_a_number(annotation: object, default: object, stored: float) -> None:
    found = one_field(annotation, default).default
    assert found == stored
    assert type(found) is type(stored)


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (uint8, 256, "the default 256 is no uint8; allowed: an integer from 0 to 255"),
        (int8, -129, "no int8"),
        (int32, 1.0, "no int32"),
        (int32, True, "no int32"),
        (bool, 1, "no bool; allowed: True, False"),
        (float32, 1e39, "no float32"),
        (float64, "1", "no float64"),
        (float64, True, "no float64"),
        (int32 | None, 5, "5 cannot be the default of an optional number; allowed: None"),
        (int32, None, "the default None is no int32"),
        (Mode, 3, "3 cannot be the default; allowed: PARKED, MANUAL, AUTO of Mode"),
        (Mode, "AUTO", "'AUTO' cannot be the default"),
        (Access, 4, "4 cannot be the default; allowed: READ, WRITE of Access"),
        (Gear, fields.MISSING, "needs a default, as none of the values is 0; allowed: FIRST, SECOND of Gear"),
        (str, 5, "5 cannot be the default of text; allowed: a str"),
        (str | None, "x", "'x' cannot be the default of text that may be None; allowed: None"),
        (str, None, "None cannot be the default unless the annotation says `| None`"),
        (list[int32], None, "None cannot be the default unless"),
        (list[int32], [1], "cannot be the default of a sequence; allowed: empty"),
        (bytes, b"x", "cannot be the default of a sequence"),
        (Point, Point(), "cannot be the default of a message or union; allowed: None"),
    ],
    ids=repr,
)
def test_refuses_a_default_that_the_type_does_not_have(annotation: object, default: object, text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        one_field(annotation, default)
    assert str(caught.value).startswith("M.f: ")
    assert text in str(caught.value)


def test_an_optional_number_is_told_apart_from_0() -> None:
    expected = Field("f", Scalar.INT32, 0, default=None, optional=True)
    assert one_field(int32 | None) == one_field(int32 | None, None) == expected
    assert one_field(Mode | None) == Field("f", Named("Mode"), 0, default=None, optional=True)
