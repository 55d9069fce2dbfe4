"""Every exception that Lunar raises, named by who is at fault and what to do about it.

All of them derive from `LunarError`. Where a builtin means the same (`TimeoutError`,
`ValueError`, `TypeError`), the class derives from that too, so ordinary handlers catch it.
Each one keeps the facts as attributes and survives pickling, so it can cross a process pool.
"""

from __future__ import annotations

import builtins
import errno as _errno
import os
import reprlib

__all__ = [
    "ClosedError",
    "ConfigError",
    "ConfigFileError",
    "ContractDenied",
    "FieldError",
    "InvalidName",
    "LunarError",
    "PeerFault",
    "QoSError",
    "ResourceExhausted",
    "SchemaError",
    "TimeoutError",
    "TransportUnavailable",
    "TypeMismatch",
    "VerificationError",
    "WouldBlock",
    "from_errno",
]


class LunarError(Exception):
    """The base of every exception that Lunar raises on purpose."""


class ClosedError(LunarError):
    """You closed this object (or the node that owns it) and then used it again."""


class WouldBlock(LunarError):
    """A `..._nowait` call cannot finish now; nothing was sent, received or lost."""


class TimeoutError(LunarError, builtins.TimeoutError):
    """What was waited for did not happen in time; nothing was sent, received or lost."""


class PeerFault(LunarError):
    """The other side broke the rules of the protocol and was, or is about to be, disconnected.

    Attributes:
        reason: What it did, and what is allowed.
        pid: Its process id as the kernel states it, or None where that is not known.
    """

    def __init__(self, reason: str, pid: int | None = None) -> None:
        super().__init__(reason, pid)
        self.reason = reason
        self.pid = pid

    def __str__(self) -> str:
        who = "a peer" if self.pid is None else f"the peer with pid {self.pid}"
        return f"{who} broke the rules: {self.reason}"


class _NotAllowed(LunarError, ValueError):
    """What `QoSError` and `ConfigError` share: something named has a value that it may not have."""

    _noun = ""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(name, value, allowed)
        self.value = value
        self.allowed = allowed
        self._name = name

    def __str__(self) -> str:
        given = f"{self._noun} {self._name}={_shown(self.value)}"
        return f"{given} is not valid; allowed: {self.allowed}"


class QoSError(_NotAllowed):
    """A quality-of-service field has a value that is unknown or contradicts another field.

    Attributes:
        field: The field of `lunar.QoS`.
        value: What it was given.
        allowed: What it may be, in words.
    """

    _noun = "QoS"

    @property
    def field(self) -> str:
        """The field of `lunar.QoS` that is wrong."""
        return self._name


class ConfigError(_NotAllowed):
    """An environment variable, or another setting, has a value that Lunar cannot use.

    Attributes:
        variable: The name of the environment variable or setting.
        value: What it holds.
        allowed: What it may hold, in words.
    """

    _noun = "setting"

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(name, value, allowed)
        if name.startswith("LUNAR_"):
            self._noun = "environment variable"

    @property
    def variable(self) -> str:
        """The environment variable or setting that is wrong."""
        return self._name


class ConfigFileError(ConfigError):
    """A settings file is wrong. As text, one fault a line, each with its place.

    Attributes:
        path: The file.
        faults: Every fault in it, as "path:line: what is wrong and what is allowed".
    """

    def __init__(self, path: str, faults: tuple[str, ...]) -> None:
        super().__init__("LUNAR_CONFIG", path, "a file without faults")
        self.args = (path, faults)  # what pickling makes a copy from
        self.path = path
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(self.faults)


class InvalidName(LunarError, ValueError):
    """A topic, node or namespace name does not follow ROS 2's rules.

    Attributes:
        kind: "topic", "node name" or "namespace".
        name: The name as it was given.
        reason: Which rule it breaks, and what is allowed.
        position: Index of the first offending character in `name`, or None if it is no single one.
    """

    def __init__(self, kind: str, name: str, reason: str, position: int | None = None) -> None:
        super().__init__(kind, name, reason, position)
        self.kind = kind
        self.name = name
        self.reason = reason
        self.position = position

    def __str__(self) -> str:
        where = "" if self.position is None else f" at position {self.position}"
        return f"invalid {self.kind} {_shown(self.name)}{where}: {self.reason}"


class TypeMismatch(LunarError, TypeError):
    """A message is not of the type that is expected or supported here.

    Attributes:
        doing: What was being done ("creating an endpoint", "publishing on /chatter").
        got: The type that was met.
        expected: The type, or types, that would have been right.
    """

    def __init__(self, doing: str, got: str, expected: str) -> None:
        super().__init__(doing, got, expected)
        self.doing = doing
        self.got = got
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.doing}: got {self.got}, expected {self.expected}"


class FieldError(LunarError, TypeError, ValueError):
    """A message's field was given something that it cannot hold.

    Attributes:
        message: Full name of the message type.
        field: Name of the field.
        expected: What it holds.
        got: What was given.
    """

    def __init__(self, message: str, field: str, expected: str, got: object) -> None:
        super().__init__(message, field, expected, got)
        self.message = message
        self.field = field
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return f"{self.message}.{self.field}: expected {self.expected}, got {_described(self.got)}"


def _described(value: object) -> str:
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return f"{type(value).__name__} of {dtype}, shape {getattr(value, 'shape', ())}"
    return f"{type(value).__name__} {_shown(value)}"


class VerificationError(LunarError, ValueError):
    """Bytes that came in are not what their schema says."""


class TransportUnavailable(LunarError):
    """A transport cannot run on this host as it is now.

    Attributes:
        name: The transport, such as "shm".
        reason: What is missing.
        remedy: What the user can do about it.
    """

    def __init__(self, name: str, reason: str, remedy: str) -> None:
        super().__init__(name, reason, remedy)
        self.name = name
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"transport {self.name} is unavailable: {self.reason}; remedy: {self.remedy}"


class ContractDenied(LunarError):
    """The traffic scheduler refused a contract.

    Attributes:
        failure_code: The failure code of IEEE 802.1Qcc, clause 46.2.5.1.3.
        reason: The same in words.
        offer: The nearest contract that could be granted, or None.
    """

    def __init__(self, failure_code: int, reason: str, offer: object | None = None) -> None:
        super().__init__(failure_code, reason, offer)
        self.failure_code = failure_code
        self.reason = reason
        self.offer = offer

    def __str__(self) -> str:
        offer = "nothing nearby can be granted" if self.offer is None else f"offer: {self.offer}"
        return f"contract denied (failure code {self.failure_code}): {self.reason}; {offer}"


class SchemaError(LunarError, ValueError):
    """A schema is wrong, or says something that Lunar does not support.

    Attributes:
        reason: What is wrong, and of what; flatc's own words where it found the error.
        path: The `.fbs` file it stands in, or None if it is in none.
        line: Its line there, from 1, or None if it is not one line's fault.
    """

    def __init__(self, reason: str, path: str | None = None, line: int | None = None) -> None:
        super().__init__(reason, path, line)
        self.reason = reason
        self.path = path
        self.line = line

    def __str__(self) -> str:
        place = "" if self.path is None else f"{self.path}: " if self.line is None else f"{self.path}:{self.line}: "
        return f"{place}{self.reason}"


class ResourceExhausted(LunarError):
    """A limit of memory, descriptors or size was reached; nothing was sent, received or leaked.

    Attributes:
        reason: Which limit, while doing what.
        remedy: What the user can do about it, or "" if there is nothing general to say.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}; remedy: {self.remedy}" if self.remedy else self.reason


_REMEDIES = {
    _errno.EMFILE: "raise the limit of open files (ulimit -n) or use fewer endpoints in a process",
    _errno.ENFILE: "raise the system's limit of open files (sysctl fs.file-max)",
    _errno.ENOMEM: "free memory, or raise the memory limit of this process or container",
    _errno.ENOSPC: "free space, or raise LUNAR_POOL_BYTES if the publisher's pool is full",
    _errno.EDQUOT: "raise this user's quota",
    _errno.ENOBUFS: "take and release messages sooner, or raise LUNAR_POOL_BYTES",
    _errno.EMSGSIZE: "send a smaller message, or raise LUNAR_POOL_BYTES",
}


def from_errno(code: int, doing: str) -> LunarError:
    """Turns what a C function returned into the exception to raise.

    Args:
        code: A negative errno, as every C function of Lunar returns on failure.
        doing: What was being done, to stand before the kernel's text ("mapping a segment").

    Returns:
        The exception, not yet raised, with an `OSError` of the same errno as its `__cause__`.
        Codes without a meaning of their own become a plain `LunarError`.

    Raises:
        ValueError: `code` is not negative, so it is no failure.
    """
    if code >= 0:
        raise ValueError(f"{code} is not a negative errno (while {doing})")
    number = -code
    cause = OSError(number, os.strerror(number))
    text = f"{doing}: {cause.strerror} ({_errno.errorcode.get(number, f'errno {number}')})"
    error = _by_meaning(number, text)
    error.__cause__ = cause
    return error


def _by_meaning(number: int, text: str) -> LunarError:
    if number in _REMEDIES:
        return ResourceExhausted(text, _REMEDIES[number])
    match number:
        case _errno.EAGAIN:
            return WouldBlock(text)
        case _errno.ETIMEDOUT:
            return TimeoutError(text)
        case _errno.ESHUTDOWN:
            return ClosedError(text)
        # The C core answers these two when shared words or a socket message make no sense.
        case _errno.EPROTO | _errno.EBADMSG:
            return PeerFault(text)
        case _:
            return LunarError(text)


class _Short(reprlib.Repr):
    def repr_int(self, number: int, level: int) -> str:
        # CPython refuses to write very long numbers in decimal.
        return repr(number) if number.bit_length() <= 128 else f"<a number of {number.bit_length()} bits>"


# The value shown may come from a hostile peer: neither its length nor its depth may hurt.
_short = _Short()
_short.maxstring = _short.maxother = 120
_short.maxlevel = 3


def _shown(value: object) -> str:
    return _short.repr(value)
