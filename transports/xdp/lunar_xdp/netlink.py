"""The kernel's netlink protocol: its messages, and a socket that asks or listens.

A message is a header (`struct nlmsghdr`), a body whose layout its kind decides, and attributes: a header of their
length and kind, and a value, padded to four bytes. What is read here comes from the kernel alone; still, nothing is
believed of its lengths.

This is written out because netlink's library for Python (pyroute2, from 0.9 on) runs an event loop for each question,
which cannot be done in a thread where one runs already: and that is where streams are opened.

Sources: linux/netlink.h, linux/genetlink.h, RFC 3549.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["GENERIC", "Message", "NetlinkSocket", "attribute", "number", "pack", "read_attributes", "read_messages"]

GENERIC: Final = 16
"""The netlink protocol of kernel families that have a name instead of a number."""

_HEADER: Final = struct.Struct("=IHHII")  # length, kind, flags, sequence, port id
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, kind
_KIND_MASK: Final = 0x3FFF  # the two high bits say: nested, and in network order
_REQUEST: Final = 1
_DONE_KINDS: Final = (1, 3)  # NLMSG_NOOP, NLMSG_DONE
_ERROR: Final = 2
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_LONGEST_DATAGRAM: Final = 1 << 16
_ANSWER_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        kind: What it is, such as RTM_NEWLINK.
        sequence: Of the question that it answers, 0 if it answers none.
        body: What stands behind the header.
    """

    kind: int
    sequence: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """Returns an attribute as it stands in a message."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def pack(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    """Returns a question as it is sent."""
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, sequence, 0) + body


def read_messages(data: bytes) -> Iterator[Message]:
    """Takes a datagram apart; what has an impossible length ends it."""
    start = 0
    while start + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, start)
        if not _HEADER.size <= length <= len(data) - start:
            return
        yield Message(kind, sequence, data[start + _HEADER.size : start + length])
        start += length + -length % 4


def read_attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Takes attributes apart; of a kind that comes again the last counts, an impossible length ends them.

    Args:
        data: A message's body, or the value of a nested attribute.
        start: Where the attributes begin.
    """
    found = {}
    while start + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if not _ATTRIBUTE.size <= length <= len(data) - start:
            break
        found[kind & _KIND_MASK] = data[start + _ATTRIBUTE.size : start + length]
        start += length + -length % 4
    return found


def number(attributes: Mapping[int, bytes], kind: int, default: int = 0) -> int:
    """Returns an attribute that is a whole number, of whatever size, or a default if there is none."""
    value = attributes.get(kind, b"")
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big") if value else default


class NetlinkSocket:
    """A netlink socket in the network namespace of the thread that makes it.

    Either it asks or it listens: a socket that does both would find events between its answers.

    Args:
        protocol: `socket.NETLINK_ROUTE` or `GENERIC`.
        groups: Numbers of the multicast groups to listen to, such as RTNLGRP_LINK. With any, the socket never blocks.

    Raises:
        OSError: The kernel refuses.
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE, groups: Iterable[int] = ()) -> None:
        self._sequences = itertools.count(1)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(_ANSWER_WITHIN_S)
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
                self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor: readable when there is something to `listen` to."""
        return self._socket.fileno()

    def ask(self, kind: int, body: bytes) -> Message:
        """Asks for one thing. The kernel answers before it lets go of the caller: this does not wait.

        Raises:
            OSError: The kernel's answer is an error, or there is none.
        """
        sequence = next(self._sequences)
        self._socket.sendto(pack(kind, sequence, body), (0, 0))
        while True:
            for message in read_messages(self._receive() or b""):
                if message.sequence != sequence or message.kind in _DONE_KINDS:
                    continue
                if message.kind != _ERROR:
                    return message
                code = -struct.unpack_from("=i", message.body)[0] if len(message.body) >= 4 else errno.EBADMSG
                raise OSError(code, os.strerror(code))

    def listen(self, most: int = 64) -> Iterator[Message]:
        """Yields what has come, of at most so many datagrams; ends when nothing is there any more.

        Raises:
            OSError: With ENOBUFS if some was lost for want of room: what is known has to be asked for anew.
        """
        for _ in range(most):
            try:
                data = self._receive()
            except BlockingIOError:
                return
            yield from read_messages(data or b"")

    def _receive(self) -> bytes | None:
        data, _, flags, sender = self._socket.recvmsg(_LONGEST_DATAGRAM)
        if flags & socket.MSG_TRUNC:
            raise OSError(errno.EMSGSIZE, "a netlink message longer than any that is asked for")
        # Other processes may write to this socket as well; the kernel has port id 0.
        return data if sender[0] == 0 else None

    def close(self) -> None:
        """Closes the socket; a second call does nothing."""
        self._socket.close()
