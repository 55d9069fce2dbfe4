import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar.errors import InvalidName
from lunar.names import (
    MAX_NAME_LENGTH,
    expand_namespace,
    expand_topic,
    full_node_name,
    split_full_node_name,
    validate_namespace,
    validate_node_name,
    validate_topic,
)

TOKEN = r"[A-Za-z_][A-Za-z0-9_]*"
ABSOLUTE = re.compile(rf"(/{TOKEN})+")
WRITTEN = re.compile(rf"~(/{TOKEN})*|/?{TOKEN}(/{TOKEN})*")

tokens = st.from_regex(TOKEN, fullmatch=True).filter(lambda token: len(token) < 20)
# Close to valid names, so that both verdicts come up; anything at all in between.
near_names = st.text(alphabet="ab9_/~{}. é٣\n", max_size=12) | st.text(max_size=12)


@pytest.mark.parametrize(
    ("topic", "node_name", "namespace", "expanded"),
    [
        ("chatter", "talker", "/", "/chatter"),
        ("chatter", "talker", "/robot", "/robot/chatter"),
        ("camera/image", "talker", "/robot/left", "/robot/left/camera/image"),
        ("/chatter", "talker", "/robot", "/chatter"),
        ("~", "talker", "/", "/talker"),
        ("~", "talker", "/robot", "/robot/talker"),
        ("~/status", "talker", "/", "/talker/status"),
        ("~/a/b", "talker", "/robot", "/robot/talker/a/b"),
        ("_hidden", "talker", "/", "/_hidden"),
        ("a/_hidden/b", "talker", "/", "/a/_hidden/b"),
        ("a__b", "talker", "/", "/a__b"),
        ("a9", "talker", "/", "/a9"),
        ("_9", "talker", "/", "/_9"),
        ("_", "talker", "/", "/_"),
        ("A/B", "talker", "/", "/A/B"),
        ("x" * 254, "talker", "/", "/" + "x" * 254),
    ],
)
def test_expands(topic: str, node_name: str, namespace: str, expanded: str) -> None:
    assert expand_topic(topic, node_name, namespace) == expanded


@pytest.mark.parametrize(
    ("topic", "position", "reason"),
    [
        ("", None, "must not be empty"),
        ("/", 0, "must not end with '/'"),
        ("a/", 1, "must not end with '/'"),
        ("/a/", 2, "must not end with '/'"),
        ("~/", 1, "must not end with '/'"),
        ("//", 1, "'/' must not follow '/'"),
        ("//a", 1, "'/' must not follow '/'"),
        ("a//b", 2, "'/' must not follow '/'"),
        ("~//a", 2, "'/' must not follow '/'"),
        ("9a", 0, "must not start with a digit"),
        ("/9a", 1, "must not start with a digit"),
        ("a/9", 2, "must not start with a digit"),
        ("~/9", 2, "must not start with a digit"),
        ("~a", 1, "'~' must stand alone or be followed by '/'"),
        ("~~", 1, "'~' must stand alone or be followed by '/'"),
        ("a~", 1, "'~' is allowed only as the first character"),
        ("/~/a", 1, "'~' is allowed only as the first character"),
        ("~/~", 2, "'~' is allowed only as the first character"),
        ("a b", 1, "' ' is not allowed; allowed: ASCII letters, digits and '_' joined by '/'"),
        ("a-b", 1, "'-' is not allowed"),
        ("a.b", 1, "'.' is not allowed"),
        ("é", 0, "'é' is not allowed"),
        ("a٣", 1, "'٣' is not allowed"),
        ("a\n", 1, "'\\n' is not allowed"),
        ("a\0", 1, "'\\x00' is not allowed"),
        ("{node}/a", 0, "substitutions in '{}' are not supported"),
        ("x" * 255, None, "it expands to 256 characters, at most 255 are allowed"),
        ("~/" + "x" * 250, None, "it expands to 258 characters, at most 255 are allowed"),
    ],
)
def test_refuses_a_topic(topic: str, position: int | None, reason: str) -> None:
    with pytest.raises(InvalidName, match=re.escape(reason)) as caught:
        expand_topic(topic, "talker", "/")
    assert (caught.value.kind, caught.value.name, caught.value.position) == ("topic", topic, position)


@pytest.mark.parametrize("topic", [None, 7, b"chatter"])
def test_a_topic_must_be_text(topic: object) -> None:
    with pytest.raises(InvalidName, match=f"must be a str, not {type(topic).__name__}"):
        expand_topic(topic, "talker", "/")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["talker", "_", "a9", "T_1", "x" * 255])
def test_accepts_a_node_name(name: str) -> None:
    validate_node_name(name)


@pytest.mark.parametrize(
    ("name", "position", "reason"),
    [
        ("", None, "must not be empty"),
        ("9a", 0, "must not start with a digit"),
        ("/a", 0, "a prefix goes into the namespace"),
        ("a/b", 1, "a prefix goes into the namespace"),
        ("~", 0, "'~' is not allowed"),
        ("a b", 1, "' ' is not allowed"),
        ("x" * 256, 255, "it has 256 characters, at most 255 are allowed"),
    ],
)
def test_refuses_a_node_name(name: str, position: int | None, reason: str) -> None:
    with pytest.raises(InvalidName, match=re.escape(reason)) as caught:
        validate_node_name(name)
    assert (caught.value.kind, caught.value.position) == ("node name", position)


@pytest.mark.parametrize("namespace", ["/", "/a", "/a/_b/c9", "/" + "x" * 252])
def test_accepts_a_namespace(namespace: str) -> None:
    validate_namespace(namespace)


@pytest.mark.parametrize(
    ("namespace", "position", "reason"),
    [
        ("", None, "must not be empty"),
        ("a", 0, "must be absolute"),
        ("~", 0, "must be absolute"),
        ("/a/", 2, "must not end with '/'"),
        ("//", 1, "'/' must not follow '/'"),
        ("/a//b", 3, "'/' must not follow '/'"),
        ("/9", 1, "must not start with a digit"),
        ("/a~", 2, "'~' is not allowed"),
        ("/" + "x" * 253, 253, "it has 254 characters, at most 253 are allowed"),
    ],
)
def test_refuses_a_namespace(namespace: str, position: int | None, reason: str) -> None:
    with pytest.raises(InvalidName, match=re.escape(reason)) as caught:
        validate_namespace(namespace)
    assert (caught.value.kind, caught.value.position) == ("namespace", position)


@pytest.mark.parametrize(
    ("namespace", "expanded"), [("", "/"), ("/", "/"), ("robot", "/robot"), ("/robot", "/robot"), ("a/b", "/a/b")]
)
def test_makes_a_namespace_absolute(namespace: str, expanded: str) -> None:
    assert expand_namespace(namespace) == expanded


@pytest.mark.parametrize("namespace", ["a/", "//", "9", "a b", 7])
def test_refuses_a_namespace_that_stays_wrong(namespace: str) -> None:
    with pytest.raises(InvalidName):
        expand_namespace(namespace)


@pytest.mark.parametrize(
    ("full_name", "parts"),
    [("/talker", ("/", "talker")), ("/robot/talker", ("/robot", "talker")), ("/a/b/c", ("/a/b", "c"))],
)
def test_takes_a_full_name_apart(full_name: str, parts: tuple[str, str]) -> None:
    assert split_full_node_name(full_name) == parts
    assert full_node_name(parts[1], parts[0]) == full_name


@pytest.mark.parametrize("full_name", ["", "talker", "/", "/a/", "//a", "/a b", "/9", "/a//b"])
def test_refuses_a_full_name(full_name: str) -> None:
    with pytest.raises(InvalidName):
        split_full_node_name(full_name)


@settings(deadline=None)
@given(near_names)
def test_topics_follow_the_grammar(topic: str) -> None:
    """The hand-written scanner against the rules as a regular expression."""
    if WRITTEN.fullmatch(topic):
        expanded = expand_topic(topic, "talker", "/robot")
        assert ABSOLUTE.fullmatch(expanded)
        validate_topic(expanded)
    else:
        with pytest.raises(InvalidName) as caught:
            expand_topic(topic, "talker", "/robot")
        position = caught.value.position
        assert position is None or 0 <= position < len(topic)


@settings(deadline=None)
@given(near_names)
def test_absolute_topics_follow_the_grammar(topic: str) -> None:
    if ABSOLUTE.fullmatch(topic):
        validate_topic(topic)
    else:
        with pytest.raises(InvalidName):
            validate_topic(topic)


@settings(deadline=None)
@given(st.lists(tokens, max_size=3), tokens, st.lists(tokens, min_size=1, max_size=3))
def test_expansion_keeps_every_token(namespace: list[str], node_name: str, topic: list[str]) -> None:
    above = "/" + "/".join(namespace)
    assert expand_topic("/".join(topic), node_name, above).split("/")[1:] == namespace + topic
    assert expand_topic("~/" + "/".join(topic), node_name, above).split("/")[1:] == [*namespace, node_name, *topic]
    assert expand_topic("/" + "/".join(topic), node_name, above).split("/")[1:] == topic


@settings(deadline=None)
@given(near_names)
def test_a_full_name_is_refused_or_joins_again(full_name: str) -> None:
    try:
        namespace, name = split_full_node_name(full_name)
    except InvalidName:
        assert not ABSOLUTE.fullmatch(full_name)
    else:
        assert full_node_name(name, namespace) == full_name


def test_the_longest_namespace_leaves_room_for_a_topic() -> None:
    namespace = "/" + "x" * (MAX_NAME_LENGTH - 3)
    validate_namespace(namespace)
    assert len(expand_topic("x", "talker", namespace)) == MAX_NAME_LENGTH
