"""ROS 2's rules for the names of topics, nodes and namespaces.

Source: design.ros2.org, "Topic and Service name mapping to DDS", and the checks that rcl and rmw
make. A name is made of tokens joined by '/'; a token has ASCII letters, digits and '_' and does not
start with a digit. A topic may be absolute ("/a/b"), relative to the node's namespace ("a/b") or
private to the node ("~/a"). A token with a leading '_' is hidden by convention, not forbidden.

Curly-brace substitutions ("{node}/x") are the one part of ROS 2's rules that is left out.
"""

from __future__ import annotations

import re
import string

from lunar.errors import InvalidName

__all__ = [
    "MAX_NAME_LENGTH",
    "expand_namespace",
    "expand_topic",
    "full_node_name",
    "is_transport_name",
    "split_full_node_name",
    "validate_namespace",
    "validate_node_name",
    "validate_topic",
]

MAX_NAME_LENGTH = 255
"""Most characters that an expanded topic or a node name may have."""

# Room for the shortest topic, "/x", below the longest namespace (as in rmw).
_MAX_NAMESPACE_LENGTH = MAX_NAME_LENGTH - 2

_TOKEN_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_")
_ALLOWED = "ASCII letters, digits and '_'"

_TRANSPORT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


def is_transport_name(name: str) -> bool:
    """Says whether a transport may be called so: 1 to 63 ASCII letters, digits, '_', '.' and '-', no sign first."""
    return _TRANSPORT_NAME.fullmatch(name) is not None


def expand_topic(topic: str, node_name: str, namespace: str) -> str:
    """Turns a topic as the user wrote it into its absolute name.

    Args:
        topic: Absolute ("/a"), relative ("a", below `namespace`) or private to the node ("~/a").
        node_name: The node's own name, already valid.
        namespace: The node's namespace, absolute and already valid ("/" is the root).

    Returns:
        The absolute name, such as "/robot/camera/image".

    Raises:
        InvalidName: `topic` breaks a rule, or its expansion is longer than `MAX_NAME_LENGTH`.
    """
    _require_text("topic", topic)
    if topic.startswith("~"):
        expanded = full_node_name(node_name, namespace) + topic[1:]
        if topic != "~":
            if topic[1] != "/":
                raise InvalidName("topic", topic, "'~' must stand alone or be followed by '/'", 1)
            _check_tokens("topic", topic, 2)
    elif topic.startswith("/"):
        expanded = topic
        _check_tokens("topic", topic, 1)
    else:
        expanded = _join(namespace, topic)
        _check_tokens("topic", topic, 0)
    if len(expanded) > MAX_NAME_LENGTH:
        reason = f"it expands to {len(expanded)} characters, at most {MAX_NAME_LENGTH} are allowed"
        raise InvalidName("topic", topic, reason)
    return expanded


def validate_topic(topic: str) -> None:
    """Checks an absolute topic name, as it stands in the graph.

    Raises:
        InvalidName: It is not absolute or breaks another rule.
    """
    _require_text("topic", topic)
    _require_absolute("topic", topic)
    _check_length("topic", topic, MAX_NAME_LENGTH)
    _check_tokens("topic", topic, 1)


def validate_node_name(name: str) -> None:
    """Checks a node's own name, without namespace.

    Raises:
        InvalidName: It is empty, too long, or not a single token.
    """
    _require_text("node name", name)
    _check_length("node name", name, MAX_NAME_LENGTH)
    if "/" in name:
        reason = f"only {_ALLOWED} are allowed; a prefix goes into the namespace"
        raise InvalidName("node name", name, reason, name.index("/"))
    _check_tokens("node name", name, 0)


def validate_namespace(namespace: str) -> None:
    """Checks an absolute namespace; "/" is the root.

    Raises:
        InvalidName: It is not absolute or breaks another rule.
    """
    _require_text("namespace", namespace)
    _require_absolute("namespace", namespace)
    _check_length("namespace", namespace, _MAX_NAMESPACE_LENGTH)
    if namespace != "/":
        _check_tokens("namespace", namespace, 1)


def expand_namespace(namespace: str) -> str:
    """Makes a namespace absolute as rcl does: "" is the root, and a missing first '/' is added.

    Returns:
        The absolute namespace, valid.

    Raises:
        InvalidName: It breaks a rule.
    """
    _require_text("namespace", namespace or "/")
    absolute = namespace if namespace.startswith("/") else f"/{namespace}"
    validate_namespace(absolute)
    return absolute


def full_node_name(name: str, namespace: str) -> str:
    """Joins a valid namespace and a valid node name: ("talker", "/robot") gives "/robot/talker"."""
    return _join(namespace, name)


def split_full_node_name(full_name: str) -> tuple[str, str]:
    """Takes a full node name apart: "/robot/talker" gives ("/robot", "talker").

    Returns:
        Namespace and node name, both valid.

    Raises:
        InvalidName: Either part breaks a rule.
    """
    _require_text("node name", full_name)
    _require_absolute("node name", full_name)
    namespace, _, name = full_name.rpartition("/")
    # "//a" has the namespace "/" before its last '/', which joined again would be "/a".
    if namespace == "/":
        raise InvalidName("node name", full_name, "'/' must not follow '/'", 1)
    namespace = namespace or "/"
    validate_namespace(namespace)
    validate_node_name(name)
    return namespace, name


def _join(namespace: str, name: str) -> str:
    return f"/{name}" if namespace == "/" else f"{namespace}/{name}"


def _require_text(kind: str, name: object) -> None:
    if not isinstance(name, str):
        raise InvalidName(kind, str(name), f"it must be a str, not {type(name).__name__}")
    if not name:
        raise InvalidName(kind, name, "it must not be empty")


def _require_absolute(kind: str, name: str) -> None:
    if not name.startswith("/"):
        raise InvalidName(kind, name, "it must be absolute, that is start with '/'", 0)


def _check_length(kind: str, name: str, limit: int) -> None:
    if len(name) > limit:
        reason = f"it has {len(name)} characters, at most {limit} are allowed"
        raise InvalidName(kind, name, reason, limit)


def _check_tokens(kind: str, name: str, start: int) -> None:
    """Checks the '/'-joined tokens of `name` from index `start`, where the first one begins."""
    at_token_start = True
    for position in range(start, len(name)):
        character = name[position]
        if character == "/":
            if at_token_start:
                raise InvalidName(kind, name, "'/' must not follow '/'", position)
            at_token_start = True
        elif character not in _TOKEN_CHARACTERS:
            raise InvalidName(kind, name, _why_not(kind, character), position)
        elif at_token_start and character.isdigit():
            raise InvalidName(kind, name, "a token must not start with a digit", position)
        else:
            at_token_start = False
    if at_token_start:
        raise InvalidName(kind, name, "it must not end with '/'", len(name) - 1)


def _why_not(kind: str, character: str) -> str:
    if kind == "topic" and character == "~":
        return "'~' is allowed only as the first character"
    if kind == "topic" and character in "{}":
        return "substitutions in '{}' are not supported"
    joined = " joined by '/'" if kind != "node name" else ""
    return f"{character!r} is not allowed; allowed: {_ALLOWED}{joined}"
