import builtins
import errno
import os
import pickle

import pytest

from lunar import errors
from lunar.errors import (
    ClosedError,
    ConfigError,
    ConfigFileError,
    ContractDenied,
    FieldError,
    InvalidName,
    LunarError,
    PeerFault,
    QoSError,
    ResourceExhausted,
    SchemaError,
    TransportUnavailable,
    TypeMismatch,
    VerificationError,
    WouldBlock,
    from_errno,
)

# One of each, with the text that it must show.
EXAMPLES: list[tuple[LunarError, str]] = [
    (LunarError("it broke"), "it broke"),
    (ClosedError("the node is closed"), "the node is closed"),
    (WouldBlock("the queue is full"), "the queue is full"),
    (errors.TimeoutError("no subscriber in 5 s"), "no subscriber in 5 s"),
    (PeerFault("index 9 of 8"), "a peer broke the rules: index 9 of 8"),
    (PeerFault("index 9 of 8", 12), "the peer with pid 12 broke the rules: index 9 of 8"),
    (QoSError("depth", 0, "1 or more"), "QoS depth=0 is not valid; allowed: 1 or more"),
    (
        ConfigError("LUNAR_DOMAIN", "x", "0 to 232"),
        "environment variable LUNAR_DOMAIN='x' is not valid; allowed: 0 to 232",
    ),
    (
        ConfigFileError("/a/lunar.toml", ("/a/lunar.toml:1: domain = -1 is not valid", "/a/lunar.toml:2: no such key")),
        "/a/lunar.toml:1: domain = -1 is not valid\n/a/lunar.toml:2: no such key",
    ),
    (InvalidName("topic", "a b", "no blanks", 1), "invalid topic 'a b' at position 1: no blanks"),
    (InvalidName("topic", "", "empty"), "invalid topic '': empty"),
    (TypeMismatch("publishing", "str", "bytes"), "publishing: got str, expected bytes"),
    (FieldError("robot.Wheel", "speed", "float32", "fast"), "robot.Wheel.speed: expected float32, got str 'fast'"),
    (VerificationError("offset 9 of 8"), "offset 9 of 8"),
    (SchemaError("Wheel.speed: no such type"), "Wheel.speed: no such type"),
    (
        TransportUnavailable("shm", "no memfd", "use Linux"),
        "transport shm is unavailable: no memfd; remedy: use Linux",
    ),
    (ContractDenied(7, "no slot", "10 ms"), "contract denied (failure code 7): no slot; offer: 10 ms"),
    (ContractDenied(7, "no slot"), "contract denied (failure code 7): no slot; nothing nearby can be granted"),
    (SchemaError("type Pose is not defined"), "type Pose is not defined"),
    (SchemaError("cannot be read", "a.fbs"), "a.fbs: cannot be read"),
    (SchemaError("expecting: ;", "a.fbs", 3), "a.fbs:3: expecting: ;"),
    (ResourceExhausted("pool is full"), "pool is full"),
    (ResourceExhausted("pool is full", "raise it"), "pool is full; remedy: raise it"),
]


def _name(value: object) -> str:
    return type(value).__name__ if isinstance(value, LunarError) else ""


@pytest.mark.parametrize(("error", "text"), EXAMPLES, ids=_name)
def test_text_says_it_all(error: LunarError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=_name)
def test_pickling_keeps_text_and_attributes(error: LunarError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_there_is_an_example_of_each_public_error() -> None:
    public = {getattr(errors, name) for name in errors.__all__ if name != "from_errno"}
    assert public == {type(error) for error, _ in EXAMPLES}
    assert all(issubclass(error, LunarError) for error in public)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.TimeoutError, builtins.TimeoutError),
        (QoSError, ValueError),
        (SchemaError, ValueError),
        (ConfigError, ValueError),
        (InvalidName, ValueError),
        (VerificationError, ValueError),
        (FieldError, ValueError),
        (FieldError, TypeError),
        (TypeMismatch, TypeError),
    ],
)
def test_is_also_the_matching_builtin(error: type[LunarError], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


def test_attributes_are_structured() -> None:
    wrong = QoSError("depth", 0, "1 or more")
    assert (wrong.field, wrong.value, wrong.allowed) == ("depth", 0, "1 or more")
    unusable = ConfigError("LUNAR_DOMAIN", "x", "0 to 232")
    assert (unusable.variable, unusable.value, unusable.allowed) == ("LUNAR_DOMAIN", "x", "0 to 232")
    name = InvalidName("topic", "a b", "no blanks", 1)
    assert (name.kind, name.name, name.reason, name.position) == ("topic", "a b", "no blanks", 1)
    missing = TransportUnavailable("shm", "no memfd", "use Linux")
    assert (missing.name, missing.reason, missing.remedy) == ("shm", "no memfd", "use Linux")


@pytest.mark.parametrize(
    "value", ["x" * 1_000_000, [["x" * 1000] * 1000] * 1000, 10**5000], ids=["long", "nested", "huge"]
)
def test_a_hostile_value_is_cut_short(value: object) -> None:
    assert len(str(QoSError("depth", value, "1 or more"))) < 5000


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EAGAIN, WouldBlock),
        (errno.ETIMEDOUT, errors.TimeoutError),
        (errno.ESHUTDOWN, ClosedError),
        (errno.EPROTO, PeerFault),
        (errno.EBADMSG, PeerFault),
        (errno.EMFILE, ResourceExhausted),
        (errno.ENFILE, ResourceExhausted),
        (errno.ENOMEM, ResourceExhausted),
        (errno.ENOSPC, ResourceExhausted),
        (errno.EDQUOT, ResourceExhausted),
        (errno.ENOBUFS, ResourceExhausted),
        (errno.EMSGSIZE, ResourceExhausted),
        (errno.EINVAL, LunarError),
        (errno.EACCES, LunarError),
        (errno.ECONNRESET, LunarError),
        (9999, LunarError),
    ],
)
def test_an_errno_becomes_the_right_exception(number: int, kind: type[LunarError]) -> None:
    error = from_errno(-number, "mapping a segment")
    assert type(error) is kind
    assert "mapping a segment" in str(error)
    assert os.strerror(number) in str(error)
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == number


def test_every_exhausted_resource_has_a_remedy() -> None:
    error = from_errno(-errno.EMFILE, "opening an eventfd")
    assert isinstance(error, ResourceExhausted)
    assert "ulimit -n" in error.remedy


@pytest.mark.parametrize("code", [0, 1, errno.EAGAIN])
def test_a_code_that_is_no_failure_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="not a negative errno"):
        from_errno(code, "mapping a segment")
