"""Stage: engines of this process that stand for as many hosts, and the streams between them.

Each gets its turns as from an event loop: when its descriptor is readable, or after the time that it asked for. Nothing
is polled, so an engine that forgets to wake fails by the time-out.
"""

from __future__ import annotations

import secrets
import select
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from lunar.abc import Site, Stream
from lunar.qos import QoS
from lunar.testing.conformance.ends import Listener, Talker
from lunar.testing.conformance.subject import require

if TYPE_CHECKING:
    from lunar.abc import Engine
    from lunar.testing.conformance.subject import Subject

__all__ = ["Flow", "Host", "Stage"]

# A turn is to take about a millisecond; this much on a busy machine is a call that blocks.
_BLOCKED_S: Final = 5.0


class Host:
    """A process that takes part.

    Attributes:
        id: Its participant id.
        engine: Its engine.
        turns: How often the engine was served.
    """

    def __init__(self, subject: Subject) -> None:
        self.id = secrets.token_hex(16)
        self.transport = subject.transport()
        site = Site(self.id, subject.domain, subject.addresses, subject.interfaces, subject.settings)
        self.engine: Engine = self.transport.open(site)
        self.turns = 0
        self.is_open = True

    def close(self) -> None:
        """Closes its engine."""
        self.is_open = False
        self.engine.close()


class Flow:
    """A stream between two hosts.

    Attributes:
        sender: Where it begins.
        receiver: Where it ends.
        talker: The handler of its sending end.
        listener: The handler of its receiving end.
    """

    def __init__(self, sender: Host, receiver: Host, publisher_id: str, reliable: bool) -> None:
        self.sender, self.receiver = sender, receiver
        self.publisher_id, self._reliable = publisher_id, reliable
        self.talker, self.listener = Talker(), Listener()
        self.handlers: list[Talker | Listener] = []

    def _stream(self, remote: Host) -> Stream:
        qos = QoS(reliability="reliable" if self._reliable else "best_effort")
        return Stream(self.publisher_id, "/conformance", qos, self._reliable, remote.id, dict(remote.engine.address))

    def open_sending(self) -> Talker:
        """Opens the sending end, for the first time or again."""
        if self.handlers:
            self.talker, before = Talker(), self.talker
            self.talker.sequence = before.sequence
        self.talker.end = self.sender.engine.open_outgoing(self._stream(self.receiver), self.talker)
        self.handlers.append(self.talker)
        return self.talker

    def open_receiving(self) -> Listener:
        """Opens the receiving end, for the first time or again."""
        if any(isinstance(each, Listener) for each in self.handlers):
            self.listener = Listener()
        self.listener.end = self.receiver.engine.open_incoming(self._stream(self.sender), self.listener)
        self.handlers.append(self.listener)
        return self.listener

    @property
    def is_up(self) -> bool:
        """Both ends are open and know it."""
        return self.talker.up and self.listener.running


class Stage:
    """Engines and streams of one check; used as `with`, which closes them and raises what was complained of.

    Args:
        subject: What is tested.
        reliable: What its streams are, unless something else is said.
    """

    def __init__(self, subject: Subject, *, reliable: bool) -> None:
        self.subject, self.reliable = subject, reliable
        self.hosts: list[Host] = []
        self.flows: list[Flow] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for host in self.hosts:
            if host.is_open:
                host.close()
        # Also after a time-out: what was complained of is why.
        complaints = self.complaints()
        if complaints and (kind is None or issubclass(kind, AssertionError)):
            raise AssertionError("; ".join(dict.fromkeys(complaints))) from value

    def complaints(self) -> list[str]:
        """What the handlers have noted so far."""
        return [text for flow in self.flows for handler in flow.handlers for text in handler.complaints]

    # ---- setting --------------------------------------------------------------------------------------------------

    def host(self) -> Host:
        """Opens an engine."""
        made = Host(self.subject)
        self.hosts.append(made)
        return made

    def flow(self, sender: Host | None = None, receiver: Host | None = None, *, publisher_id: str = "") -> Flow:
        """A stream of which neither end is open; between new hosts if none are given."""
        made = Flow(
            sender or self.host(), receiver or self.host(), publisher_id or secrets.token_hex(16), self.reliable
        )
        self.flows.append(made)
        return made

    def connect(self, sender: Host | None = None, receiver: Host | None = None, *, publisher_id: str = "") -> Flow:
        """A stream that is open and started."""
        made = self.flow(sender, receiver, publisher_id=publisher_id)
        made.open_sending()
        made.open_receiving()
        self.until(lambda: made.is_up, "a stream connects and starts")
        return made

    # ---- running --------------------------------------------------------------------------------------------------

    def until(self, happened: Callable[[], object], what: str, *, only: Host | None = None) -> None:
        """Serves the engines until something has happened.

        Args:
            happened: Whether it has.
            what: What is waited for, as a statement, for the message if it does not happen.
            only: The only one that is served; default: all.

        Raises:
            AssertionError: It did not happen in time, or a call took too long.
        """
        end_s = time.monotonic() + self.subject.patience_s
        while not happened():
            left_s = end_s - time.monotonic()
            require(left_s > 0, f"not within {self.subject.patience_s:g} s: {what}")
            self._turn([only] if only is not None else self.hosts, left_s, happened)

    def pass_time(self, seconds: float) -> None:
        """Serves the engines for a while, in which nothing is waited for."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._turn(self.hosts, left_s, lambda: False)

    def _turn(self, hosts: list[Host], most_s: float, happened: Callable[[], object]) -> None:
        poll = select.poll()
        for host in [each for each in hosts if each.is_open]:
            began_s = time.monotonic()
            wait_s = host.engine.work()
            took_s = time.monotonic() - began_s
            require(took_s < _BLOCKED_S, f"`Engine.work` took {took_s:.1f} s: it has blocked")
            host.turns += 1
            require(wait_s is None or wait_s >= 0, f"`Engine.work` returned {wait_s}")
            if wait_s is not None:
                most_s = min(most_s, wait_s)
            if host.is_open:  # a handler may have closed it
                poll.register(host.engine.fileno(), select.POLLIN)
        complaints = self.complaints()
        require(not complaints, "; ".join(dict.fromkeys(complaints)))
        if not happened():
            poll.poll(most_s * 1000)

    # ---- sending --------------------------------------------------------------------------------------------------

    def send(self, flow: Flow, count: int, size_bytes: int = 64) -> None:
        """Sends so many numbered parcels, waiting for `writable` where there is no room."""
        talker = flow.talker
        for _ in range(count):
            while not talker.send_numbered(size_bytes):
                self.until(lambda: not talker.refused, "`writable` is called after `send` returned False")

    def settle(self, flow: Flow) -> None:
        """Waits until all that was sent has arrived; of best effort, until that is known to be lost which has not.

        What is lost at the very end shows when something comes after it: so a little is sent.
        """
        listener, talker = flow.listener, flow.talker
        if self.reliable:
            self.until(lambda: listener.numbers[-1:] == [talker.sequence], "all that was sent arrives")
            return
        for _ in range(50):
            mark = talker.sequence
            self.send(flow, 1)
            self.pass_time(0.005)
            if listener.numbers and listener.numbers[-1] > mark:
                return
        require(False, "nothing of 50 parcels that were sent slowly has arrived")
