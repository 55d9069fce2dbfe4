"""How a participant meets the others: connects to those that came before, accepts those that come after.

A link that a limit of ours stands in the way of (no descriptor is left, say) is tried again after a while, until it is
made or the other process is gone. Likewise one that the other side hung up before it had greeted: then a limit of its
own was in the way.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from lunar.errors import LunarError, PeerFault
from lunar.graph.link import NUDGE

if TYPE_CHECKING:
    from lunar.graph.control import ControlThread
    from lunar.graph.rendezvous import Rendezvous

__all__ = ["Meeting"]

_log = logging.getLogger("lunar")

_AGAIN_S = 0.02
_ACCEPT_AGAIN_S = 0.5
_LOOK_AGAIN_S = 0.5
_LOOK_AGAIN_AT_MOST_S = 60.0


class Meeting:
    """Makes connections; what becomes of them is the participant's. Runs in the control thread.

    Args:
        rendezvous: Where everybody's sockets are.
        control: The thread that it runs in.
        known: The names of those whom we have a link with.
        opened: Takes a connection (non-blocking), the process and user id of the other side, and its name (None if it
            connected to us and has yet to say).
    """

    def __init__(
        self,
        rendezvous: Rendezvous,
        control: ControlThread,
        known: Callable[[], Iterable[str | None]],
        opened: Callable[[socket.socket, int, int, str | None], None],
    ) -> None:
        self._rendezvous = rendezvous
        self._control = control
        self._known = known
        self._opened = opened
        self._connecting: set[str] = set()
        self._disowned: set[str] = set()
        self._scolded: deque[int] = deque(maxlen=16)
        self._looking_later = False
        self._look_again_s = _LOOK_AGAIN_S

    def begin(self) -> None:
        """We have just appeared: meet everybody who is there, and accept whoever comes."""
        self._control.watch(self._rendezvous.listener.fileno(), lambda _: self._accept())
        self._appear()

    def _appear(self) -> None:
        self.look()
        try:
            for name in self._rendezvous.others():
                if not self._rendezvous.is_ours_to_connect(name):
                    self._nudge(name)
            self._rendezvous.remove_abandoned()
        except LunarError as error:
            _log.error("%s", error)
            self._control.call_later(_LOOK_AGAIN_S, self._appear)

    def look(self) -> None:
        """Connects to whoever is there, is ours to connect to, and has no link with us yet."""
        known = {*self._known(), *self._connecting, *self._disowned}
        try:
            others = self._rendezvous.others()
        except LunarError as error:
            _log.error("%s", error)
            self._look_later()
            return
        for name in others:
            if name not in known and self._rendezvous.is_ours_to_connect(name):
                self.connect(name)

    def _look_later(self) -> None:
        if not self._looking_later:
            self._looking_later = True
            self._control.call_later(self._look_again_s, self._look_again)
            self._look_again_s = min(2 * self._look_again_s, _LOOK_AGAIN_AT_MOST_S)

    def _look_again(self) -> None:
        self._looking_later = False
        self.look()
        if not self._looking_later:
            self._look_again_s = _LOOK_AGAIN_S

    def ended(self, name: str, *, greeted: bool) -> None:
        """A link ended without a goodbye: the process behind it is dead, or could not serve us."""
        if not self._rendezvous.remove_if_dead(name) and not greeted:
            self._look_later()

    def disown(self, name: str) -> None:
        """Never connects to a process again: it broke the rules."""
        if self._rendezvous.is_ours_to_connect(name):  # others come to us; whoever does so forever fills no set
            self._disowned.add(name)

    def meet_anew(self, name: str) -> None:
        """Has another link made with a process that we have hung up on: by us or, if it came later, by it."""
        if self._rendezvous.is_ours_to_connect(name):
            self.connect(name)
        else:
            self._nudge(name)

    def _reach(self, name: str, again: Callable[[], None]) -> socket.socket | None:
        try:
            return self._rendezvous.connect(name)
        except BlockingIOError:  # its backlog is full
            self._connecting.add(name)
            self._control.call_later(_AGAIN_S, again)
        except LunarError as error:
            _log.error("%s", error)
            self._connecting.add(name)
            self._control.call_later(_LOOK_AGAIN_S, again)
        return None

    def connect(self, name: str) -> None:
        """Connects to a process, now or as soon as it can be."""
        self._connecting.discard(name)
        connection = self._reach(name, lambda: self.connect(name))
        if connection is not None:
            self._admit(connection, name)

    def _nudge(self, name: str) -> None:
        """Asks a process that has to connect to us, and may have looked before we appeared, to look again."""
        self._connecting.discard(name)
        connection = self._reach(name, lambda: self._nudge(name))
        if connection is not None:
            with connection, suppress(OSError):
                connection.send(NUDGE)

    def _accept(self) -> None:
        listener = self._rendezvous.listener
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Out of descriptors: leave it in the backlog and look again when some may have been freed.
                _log.error("cannot accept a peer: %s", error.strerror)
                self._control.want(listener.fileno(), read=False)
                self._control.call_later(_ACCEPT_AGAIN_S, lambda: self._control.want(listener.fileno()))
                return
            connection.setblocking(False)
            self._admit(connection, None)

    def _admit(self, connection: socket.socket, name: str | None) -> None:
        pid, uid, allowed = self._rendezvous.may_join(connection)
        if not allowed:
            _log.warning("refused a process (pid %d) of user %d: the domain is not open to it", pid, uid)
            connection.close()
            return
        try:
            self._opened(connection, pid, uid, name)
        except PeerFault as error:
            connection.close()
            if pid not in self._scolded:  # who knocks without end fills no log
                self._scolded.append(pid)
                _log.error("refused a connection of the process with pid %d: %s", pid, error.reason)
        except (OSError, LunarError) as error:
            connection.close()
            _log.error("cannot serve the peer with pid %d: %s", pid, error)
            if name is not None:
                self._look_later()
