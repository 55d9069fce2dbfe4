"""The sockets of an engine: made, bound, and the one rule of their descriptors kept.

The descriptor of a ZeroMQ socket is readable when the socket's *state* may have changed, and no longer once anything
was asked of the socket, even while messages wait in it. So whoever has touched a socket looks at its events before
going to sleep: `Port.touched` remembers that.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import zmq

from lunar.errors import ConfigError, LunarError, ResourceExhausted, from_errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from lunar.abc import Site
    from lunar_zmq.frames import FrameCarrier
    from lunar_zmq.keys import KeyPair
    from lunar_zmq.outbox import Transmit
    from lunar_zmq.settings import Address, Settings

__all__ = [
    "Port",
    "bind_router",
    "change",
    "connect",
    "connect_dealer",
    "failure",
    "transmitter",
    "watch",
]

# What a subscriber says is small.
_LARGEST_OF_SUBSCRIBER_BYTES: Final = 1 << 20
_LARGEST_OF_PUBLISHER_BYTES: Final = 1 << 32
# A plain number: of the enumeration, `&` would be a call of a microsecond.
_POLLIN: Final = int(zmq.POLLIN)
# As much as is on its way of most streams, see `receiving`.
_KEPT_BYTES: Final = 8 << 20

Change = Literal["connected", "lost", "refused"]
_CHANGES: Final[dict[int, Change]] = {
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): "connected",
    int(zmq.EVENT_DISCONNECTED): "lost",
    int(zmq.EVENT_CLOSED): "refused",  # an attempt to connect has failed: nobody listens there, or there is no way
}


class Port:
    """A socket, and what to do with what arrives there.

    Args:
        socket: The socket, owned by this.
        take: Takes a message from it; raises `zmq.Again` if there is none.
        frames: Carries its frames.
    """

    __slots__ = ("_events", "address", "fd", "socket", "take", "touched")

    def __init__(self, socket: zmq.Socket[bytes], take: Callable[[], None], frames: FrameCarrier) -> None:
        self.socket = socket
        self.address: int = socket.underlying
        self.fd: int = socket.getsockopt(zmq.FD)
        self.take = take
        self.touched = True
        self._events = frames.events

    def has_message(self) -> bool:
        """Whether something waits to be received; asking is what clears the descriptor."""
        self.touched = False
        return bool(self._events(self.address) & _POLLIN)


def failure(error: zmq.ZMQError, doing: str) -> LunarError:
    """Turns what pyzmq raised into what to raise."""
    number = error.errno or errno.EIO
    if number in (zmq.EMTHREAD, errno.EMFILE, errno.ENFILE, errno.EADDRINUSE):
        return ResourceExhausted(f"{doing}: {error}", "use fewer sockets, or raise the limit of open files (ulimit -n)")
    return from_errno(-number, doing)


def bind_router(
    context: zmq.Context[zmq.Socket[bytes]], site: Site, settings: Settings, keys: KeyPair | None
) -> tuple[zmq.Socket[bytes], list[str]]:
    """Makes the socket that subscribers connect to.

    Returns:
        The socket, and its endpoints.

    Raises:
        ConfigError: An address is none of this host's, or the directory cannot be used.
        ResourceExhausted: A limit was reached.
    """
    router = context.socket(zmq.ROUTER)
    # Tells when a connection is gone, instead of dropping silently.
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.MAXMSGSIZE, _LARGEST_OF_SUBSCRIBER_BYTES)
    _set_common(router, settings)
    if keys is not None:
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
        router.setsockopt(zmq.ZAP_DOMAIN, b"lunar")
    endpoints: list[str] = []
    for wanted in _wanted(site, settings):
        _set_family(router, wanted)
        try:
            router.bind(wanted)
        except zmq.ZMQError as error:
            router.close(0)
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL, errno.ENOENT, errno.EACCES):
                raise ConfigError("zmq endpoint", wanted, f"one that this host can listen on ({error})") from error
            raise failure(error, f"binding {wanted}") from error
        endpoints.append(router.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode())
    return router, endpoints


def _wanted(site: Site, settings: Settings) -> list[str]:
    if settings.carrier == "ipc":
        directory = Path(settings.directory)
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError("zmq.directory", settings.directory, f"a directory ({error})") from error
        return [f"ipc://{directory}/{os.getpid()}-{secrets.token_hex(4)}.zmq"]
    return [f"tcp://[{address}]:*" if ":" in address else f"tcp://{address}:*" for address in site.addresses]


def connect_dealer(
    context: zmq.Context[zmq.Socket[bytes]], settings: Settings, address: Address, keys: KeyPair | None
) -> zmq.Socket[bytes]:
    """Makes a socket that is to connect to a publisher's process.

    Raises:
        ResourceExhausted: A limit was reached.
    """
    try:
        dealer = context.socket(zmq.DEALER)
    except zmq.ZMQError as error:
        raise failure(error, "making a socket") from error
    _keep_large_blocks()
    _set_common(dealer, settings)
    dealer.setsockopt(zmq.MAXMSGSIZE, _LARGEST_OF_PUBLISHER_BYTES)
    dealer.setsockopt(zmq.RECONNECT_IVL, 50)
    dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    if keys is not None:
        dealer.setsockopt(zmq.CURVE_SERVERKEY, address.key.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
        dealer.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
    return dealer


def _keep_large_blocks() -> None:
    """Has malloc keep the memory of large frames that come in, instead of giving it back after each.

    glibc keeps what is smaller than the largest block that was ever freed (up to 32 MiB), and twice that in all. Pages
    that it gave back are new ones the next time, each faulted in and zeroed. This block is never touched: it is free.
    """
    bytes(_KEPT_BYTES)


def watch(dealer: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Makes a socket on which libzmq says when a dealer's connection has come and gone; read it with `change`."""
    watching: zmq.Socket[bytes] = dealer.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
    )
    watching.setsockopt(zmq.LINGER, 0)
    return watching


def change(watching: zmq.Socket[bytes]) -> Change:
    """Reads what has happened to a dealer's connection; raises `zmq.Again` if nothing has."""
    event: bytes = watching.recv_multipart(zmq.NOBLOCK)[0]
    return _CHANGES[int.from_bytes(event[:2], sys.byteorder)]


def connect(dealer: zmq.Socket[bytes], endpoint: str) -> None:
    """Has a socket connect to an endpoint; raises ZMQError if that makes no sense."""
    _set_family(dealer, endpoint)
    dealer.connect(endpoint)


def _set_family(socket: zmq.Socket[bytes], endpoint: str) -> None:
    # With IPv6 on, an IPv4 address is bound as a mapped one, which a host without IPv6 could not connect to.
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))


def _set_common(socket: zmq.Socket[bytes], settings: Settings) -> None:
    # No high-water mark, so nothing is dropped at one: credit bounds what waits.
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.LINGER, 0)
    milliseconds = round(settings.heartbeat_s * 1000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, max(milliseconds // 3, 1))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, milliseconds)
    socket.setsockopt(zmq.HEARTBEAT_TTL, milliseconds)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)


def transmitter(
    port: Port,
    frames: FrameCarrier,
    routing_id: bytes | None,
    touched: Callable[[Port], None],
    unreachable: Callable[[], None],
) -> Transmit:
    """Makes what sends frames through a socket.

    Args:
        port: The socket.
        frames: Carries them.
        routing_id: Of a router, the connection to send to.
        touched: Called with the port after it was sent to.
        unreachable: Called if there is no connection; what was to be sent is dropped.
    """
    send, socket = frames.send, port.address

    def transmit(frame: bytes, payload: ReadableBuffer | None) -> None:
        error = send(socket, routing_id, frame, payload)
        if error:
            if error not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise zmq.ZMQError(error)
            unreachable()
        touched(port)

    return transmit
