"""Inquiry: whether a process that has vanished is dead. A host that lives says so of its processes; a cut says nothing.

Where a process that lives has a TCP socket that listens, the kernel of its host answers a connection for it, however
busy or stopped it is; when it has ended, however it did, that kernel refuses. If the host is down or the network cut,
nobody answers. So only if every place where it listened refuses, is it dead; anything else proves nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lunar.graph.control import ControlThread

__all__ = ["Place", "inquire"]

Place = tuple[str, int]
"""An IP address and a port."""

_ANSWER_WITHIN_S: Final = 0.8


def inquire(control: ControlThread, places: Sequence[Place], dead: Callable[[], object]) -> None:
    """Asks once; never blocks. Runs in the control thread.

    Args:
        control: The control thread.
        places: Where the process listened while it lived; none proves nothing.
        dead: Called in the control thread, now or within a second, if it is dead; else nothing is.
    """
    if places:
        _Inquiry(control, dead).ask(places)


class _Inquiry:
    def __init__(self, control: ControlThread, dead: Callable[[], object]) -> None:
        self._control, self._dead = control, dead
        self._asked: dict[int, socket.socket] = {}
        self._over = False

    def ask(self, places: Sequence[Place]) -> None:
        try:
            refused = [self._connect(place) for place in places]
        except OSError:  # no route, no more descriptors, or no address at all: that says nothing of the process
            self._end()
            return
        if all(refused):
            self._end(dead=True)
        else:
            self._control.call_later(_ANSWER_WITHIN_S, self._end)

    def _connect(self, place: Place) -> bool:
        """Begins to connect; returns whether that was refused at once."""
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        socket.inet_pton(family, place[0])  # a name would be looked up, which blocks
        if not 0 < place[1] <= 0xFFFF:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        asking = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        number = asking.connect_ex(place)
        if number != errno.EINPROGRESS:
            asking.close()
            if number == errno.ECONNREFUSED:
                return True
            raise OSError(number, os.strerror(number))
        self._asked[asking.fileno()] = asking
        self._control.watch(asking.fileno(), partial(self._answered, asking))
        # A connection that was made shows only as room to write.
        self._control.want(asking.fileno(), write=True)
        return False

    def _answered(self, asking: socket.socket, _mask: int) -> None:
        if asking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.ECONNREFUSED:
            self._end()
            return
        self._close(asking)
        if not self._asked:
            self._end(dead=True)

    def _close(self, asking: socket.socket) -> None:
        self._control.unwatch(asking.fileno())
        del self._asked[asking.fileno()]
        asking.close()

    def _end(self, *, dead: bool = False) -> None:
        for asking in list(self._asked.values()):
            self._close(asking)
        if not self._over:
            self._over = True
            if dead:
                self._dead()
