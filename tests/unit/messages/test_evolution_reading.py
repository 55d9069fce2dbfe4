"""An old reader and a new writer, and the reverse: what each sees, for every way in which a schema may grow."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lunar.errors import FieldError, VerificationError
from lunar.messages import decode, encode, from_dict, to_dict
from lunar.messages.loading import Interfaces, load


@cache
def _load(text: str) -> Interfaces:
    with TemporaryDirectory() as folder:
        path = Path(folder, "evolving.fbs")
        path.write_text(text + " root_type M;")
        return load(path)


def classes(old: str, new: str) -> tuple[Any, Any]:
    """The two versions of a schema's classes, by last name."""
    return _load(old), _load(new)


def carried(message: Any, cls: Any) -> Any:
    """The message as a reader of another version sees it, verified; and as it sees it when it trusts the writer."""
    blob = encode(message)
    verified, trusted = decode(cls, blob), decode(cls, blob, verify=False)
    assert repr(verified) == repr(trusted) == repr(verified.copy())
    assert to_dict(verified) == to_dict(trusted)
    assert verified == trusted == verified.copy()
    return verified


# ---- tables ---------------------------------------------------------------------------------------------------------

OLD_FIELDS = "table M { a:int; }"
NEW_FIELDS = """
struct P { x:float; y:float; }
enum E : byte { None, One }
table T { i:int; }
union U { T, Text:string }
table M {
  a:int; b:int = 7; c:int = null; d:string; e:[double]; f:[string]; g:P; h:T; i:E = One; j:U; k:[U]; l:bool = true;
  m:[P];
}
"""


def test_added_fields_are_at_their_defaults_for_the_new_reader() -> None:
    old, new = classes(OLD_FIELDS, NEW_FIELDS)
    read = carried(old.M(a=5), new.M)
    assert read == new.M(a=5)
    assert (read.a, read.b, read.c, read.d, read.g, read.h, read.i, read.j, read.l) == (
        5, 7, None, None, None, None, new.E.One, None, True,
    )  # fmt: skip
    assert [len(each) for each in (read.e, read.f, read.k, read.m)] == [0, 0, 0, 0]


def test_added_fields_are_not_there_for_the_old_reader() -> None:
    old, new = classes(OLD_FIELDS, NEW_FIELDS)
    full = new.M(
        a=5, b=8, c=9, d="d", e=[1.0], f=["f"], g=new.P(x=1.0), h=new.T(i=1), i=0, j="j", k=["k", new.T()], l=False,
        m=[new.P()],
    )  # fmt: skip
    read = carried(full, old.M)
    assert read == old.M(a=5)
    assert to_dict(read) == {"a": 5}
    assert not hasattr(read, "b")


def test_what_the_old_reader_does_not_know_is_lost_when_it_writes() -> None:
    old, new = classes(OLD_FIELDS, NEW_FIELDS)
    passed_on = encode(carried(new.M(a=5, b=8, d="d"), old.M))
    assert decode(new.M, passed_on) == new.M(a=5)


def test_ids_in_another_order() -> None:
    old, new = classes(
        "table M { a:int (id: 0); b:string (id: 1); }", "table M { b:string (id: 1); c:int (id: 2); a:int (id: 0); }"
    )
    assert carried(old.M(a=1, b="b"), new.M) == new.M(a=1, b="b", c=0)
    assert carried(new.M(a=1, b="b", c=3), old.M) == old.M(a=1, b="b")


def test_a_deprecated_field_is_neither_written_nor_read() -> None:
    old, new = classes("table M { a:int; b:string; c:int; }", "table M { a:int; b:string (deprecated); c:int; }")
    read = carried(old.M(a=1, b="b", c=3), new.M)
    assert read == new.M(a=1, c=3)
    assert not hasattr(read, "b")
    assert carried(new.M(a=1, c=3), old.M) == old.M(a=1, b=None, c=3)
    with pytest.raises(FieldError, match="one of its fields: a, c"):
        new.M(b="b")


def test_what_a_deprecated_field_holds_is_not_looked_at() -> None:
    old, new = classes("table M { a:int; b:string; }", "table M { a:int; b:string (deprecated); }")
    blob = bytearray(encode(old.M(a=1, b="text")))
    blob[blob.index(b"text")] = 0xFF
    with pytest.raises(VerificationError, match="not UTF-8"):
        decode(old.M, blob)
    assert decode(new.M, blob).a == 1


def test_a_default_that_was_changed() -> None:
    """FlatBuffers does not allow it, and this is why: what was elided is read as the reader's default."""
    old, new = classes("table M { a:int = 1; b:int = 1; }", "table M { a:int = 2; b:int = 1; }")
    assert carried(old.M(a=1), new.M).a == 2
    assert carried(old.M(a=3), new.M).a == 3
    assert carried(new.M(a=1), old.M).a == 1


def test_an_optional_field_that_had_no_default() -> None:
    old, new = classes("table M { a:int; }", "table M { a:int; b:int = null; c:float = null; d:bool = null; }")
    assert [getattr(carried(old.M(a=1), new.M), name) for name in "bcd"] == [None, None, None]
    zero = new.M(b=0, c=0.0, d=False)
    assert carried(zero, old.M) == old.M(a=0)
    assert decode(new.M, encode(zero)) == zero


def test_a_string_or_vector_that_became_required() -> None:
    """Nor is that allowed: the new reader refuses what the old writer left out."""
    old, new = classes("table M { a:string; b:[int]; }", "table M { a:string (required); b:[int] (required); }")
    assert carried(old.M(a="a", b=[1]), new.M) == new.M(a="a", b=[1])
    with pytest.raises(VerificationError, match="field a is required and absent"):
        decode(new.M, encode(old.M(b=[1])))
    trusted = decode(new.M, encode(old.M(b=[1])), verify=False)
    assert trusted.a is None
    assert trusted.copy().b.tolist() == [1]
    with pytest.raises(VerificationError, match="field a is required and absent"):
        encode(trusted)
    assert carried(new.M(a="", b=[]), old.M) == old.M(a="", b=[])


def test_a_nested_table_that_grew() -> None:
    old, new = classes(
        "table T { i:int; } table M { t:T; ts:[T]; }", "table T { i:int; s:string; } table M { t:T; ts:[T]; }"
    )
    assert carried(new.M(t=new.T(i=1, s="s"), ts=[new.T(s="x"), new.T(i=2)]), old.M) == old.M(
        t=old.T(i=1), ts=[old.T(), old.T(i=2)]
    )
    assert carried(old.M(t=old.T(i=1), ts=[old.T(i=2)]), new.M) == new.M(t=new.T(i=1), ts=[new.T(i=2)])


def test_a_table_that_had_no_fields() -> None:
    old, new = classes("table M { }", "table M { a:string; b:[int]; }")
    assert carried(old.M(), new.M) == new.M()
    assert carried(new.M(a="a", b=[1]), old.M) == old.M()


# ---- enums ----------------------------------------------------------------------------------------------------------


def test_a_value_that_an_enum_did_not_have() -> None:
    old, new = classes(
        "enum E : ubyte { A, B } struct S { e:E; } table M { e:E; es:[E]; s:S; o:E = null; }",
        "enum E : ubyte { A, B, C } struct S { e:E; } table M { e:E; es:[E]; s:S; o:E = null; }",
    )
    c = new.E.C
    read = carried(new.M(e=c, es=[0, c], s=new.S(e=c), o=c), old.M)
    assert (read.e, read.es.tolist(), read.s.e, read.o) == (2, [0, 2], 2, 2)
    assert not isinstance(read.e, old.E)
    assert to_dict(read) == {"e": 2, "es": [0, 2], "s": {"e": 2}, "o": 2}
    # Passed on as it came: no harm is done by a reader in between.
    assert decode(new.M, encode(read)) == new.M(e=c, es=[0, c], s=new.S(e=c), o=c)
    assert read.copy().e == 2
    with pytest.raises(FieldError):
        old.M(e=2)
    assert carried(old.M(e=old.E.B), new.M).e is new.E.B


def test_a_bit_that_flags_did_not_have() -> None:
    old, new = classes(
        "enum F : ubyte (bit_flags) { A, B } table M { f:F; }",
        "enum F : ubyte (bit_flags) { A, B, C } table M { f:F; }",
    )
    read = carried(new.M(f=new.F.A | new.F.C), old.M)
    assert read.f == 5
    assert old.F.A in read.f
    assert to_dict(read) == {"f": 5}
    assert decode(new.M, encode(read)).f == new.F.A | new.F.C
    assert carried(old.M(f=3), new.M).f == new.F.A | new.F.B


# ---- unions ---------------------------------------------------------------------------------------------------------

OLD_UNION = "table A { i:int; } union U { A } table M { u:U; us:[U]; x:int; }"
NEW_UNION = """
struct P { x:float; } table A { i:int; s:string; } table B { j:int; }
union U { A, B, P, Text:string }
table M { u:U; us:[U]; x:int; }
"""


@pytest.mark.parametrize("member", ["B", "P", "Text"])
def test_an_alternative_that_a_union_did_not_have(member: str) -> None:
    old, new = classes(OLD_UNION, NEW_UNION)
    value = "text" if member == "Text" else getattr(new, member)()
    read = carried(new.M(u=value, x=3), old.M)
    assert (read.u, read.x) == (None, 3)
    assert to_dict(read) == {"us": [], "us_type": [], "x": 3}
    assert decode(new.M, encode(read)) == new.M(x=3)  # what it does not know it cannot pass on


def test_an_alternative_that_a_union_had() -> None:
    old, new = classes(OLD_UNION, NEW_UNION)
    assert carried(old.M(u=old.A(i=1), us=[old.A(), old.A(i=2)]), new.M) == new.M(
        u=new.A(i=1), us=[new.A(), new.A(i=2)]
    )
    assert carried(new.M(u=new.A(i=1, s="s")), old.M) == old.M(u=old.A(i=1))


def test_a_vector_of_unions_with_unknown_tags() -> None:
    old, new = classes(OLD_UNION, NEW_UNION)
    read = carried(new.M(us=[new.A(i=1), new.B(j=2), "text", new.P(x=3.0), new.A(i=4)]), old.M)
    known = [old.A(i=1), None, None, None, old.A(i=4)]
    assert list(read.us) == known
    assert list(read.copy().us) == known
    plain = to_dict(read)
    assert plain["us_type"] == ["A", "NONE", "NONE", "NONE", "A"]
    assert from_dict(old.M, plain) == read
    # Each keeps its place when the message is passed on.
    assert list(decode(new.M, encode(read)).us) == [new.A(i=1), None, None, None, new.A(i=4)]


def test_a_required_union_whose_alternative_is_unknown() -> None:
    old, new = classes(OLD_UNION.replace("u:U;", "u:U (required);"), NEW_UNION.replace("u:U;", "u:U (required);"))
    read = carried(new.M(u="text", x=3), old.M)
    assert (read.u, read.x) == (None, 3)
    with pytest.raises(VerificationError, match="field u is required"):
        encode(read)


# ---- renaming, and what no rule allows ------------------------------------------------------------------------------


def test_names_do_not_travel() -> None:
    old, new = classes("table M { a:int; b:string; }", "table M { first:int; second:string; }")
    assert carried(old.M(a=1, b="b"), new.M) == new.M(first=1, second="b")


@pytest.mark.parametrize(
    ("before", "after"), [("int", "uint"), ("short", "ushort"), ("byte", "ubyte"), ("long", "ulong")]
)
def test_a_sign_that_was_lost(before: str, after: str) -> None:
    old, new = classes(f"table M {{ a:{before}; }}", f"table M {{ a:{after}; }}")
    assert carried(old.M(a=5), new.M).a == 5
    assert carried(old.M(a=-1), new.M).a > 0


def test_a_field_of_another_type_is_refused_or_misread_but_harmless() -> None:
    types = ["string", "long", "[string]", "[long]", "T", "[T]", "S", "[S]"]
    text = "struct S {{ a:long; b:long; }} table T {{ s:string; }} table M {{ a:{0}; }}"
    values: dict[str, Any] = {"string": "text", "long": 7, "[string]": ["a", "b"], "[long]": [1, 2]}
    for before in types:
        for after in types:
            old, new = classes(text.format(before), text.format(after))
            made = values | {"T": old.T(s="s"), "[T]": [old.T(s="s")], "S": old.S(a=1), "[S]": [old.S(a=1)]}
            blob = encode(old.M(a=made[before]))
            try:
                repr(decode(new.M, blob))
            except VerificationError:
                assert before != after
            try:
                repr(decode(new.M, blob, verify=False))
            except VerificationError:
                assert before != after
