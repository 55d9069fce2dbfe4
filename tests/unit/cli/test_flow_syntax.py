import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar.cli.flow_syntax import FlowError, parse_flow

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_json_is_understood(value: object, indent: int | None, ascii_only: bool) -> None:
    assert parse_flow(json.dumps(value, indent=indent, ensure_ascii=ascii_only)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{linear: {x: 1.0, y: -2}, name: robot one}", {"linear": {"x": 1.0, "y": -2}, "name": "robot one"}),
        ("{linear:{x:1}}", {"linear": {"x": 1}}),
        ("{cells: [1, .5, 1e3, 0x1F, 1_000,], }", {"cells": [1, 0.5, 1000.0, 31, 1000]}),
        ("{a: null, b: ~, c: True, d: no}", {"a": None, "b": None, "c": True, "d": "no"}),
        ("{mode: DRIVING, url: http://x/y, time: 12:30}", {"mode": "DRIVING", "url": "http://x/y", "time": "12:30"}),
        ("{'it''s': 'two words', \"b\": \"a\\u0041\"}", {"it's": "two words", "b": "aA"}),
        ("{x: -.inf, y: Infinity, z: +inf}", {"x": -math.inf, "y": math.inf, "z": math.inf}),
        ("{}", {}),
        ("[]", []),
        ("007", 7.0),
        ("9" * 200, "9" * 200),
    ],
)  # fmt: skip
def test_plain_words_need_no_quotes(text: str, value: object) -> None:
    assert parse_flow(text) == value


def test_what_is_no_number_is_read() -> None:
    assert [math.isnan(float(str(parse_flow(word)))) for word in ("nan", ".nan", "NaN")] == [True] * 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a value, but the text ends"),
        ("{x: 1", "expected , or }, but the text ends"),
        ("{x}", "expected : behind the field's name at character 3, got '}'"),
        ("{x: }", "expected a value at character 5"),
        ("{: 1}", "expected a field's name or } at character 2"),
        ("{x: 1, x: 2}", "expected x only once at character 8"),
        ("[1 [2]]", "expected , or ] at character 4"),
        ("{x: 1} y", "expected the end at character 8, got 'y'"),
        ('{x: "a}', "expected a text in quotes"),
        ('"\\q"', "expected a text in quotes as in JSON"),
        ("[" * 1000, "nested deeper than 100"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(FlowError) as raised:
        parse_flow(text)
    assert reason in str(raised.value)


@given(st.text(alphabet="{}[]:,'\"ax1.\\ \n"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(FlowError):
        parse_flow(text)
