"""The two libraries of the comparison behind the same few calls: each end of a link sends and receives bytes.

An image is sent from the program's own memory, with a time stamp in the eight bytes before its pixels. Lunar copies
both into shared memory; pyzmq gets the pixels as a frame of their own, handed over and received with `copy=False`, as
its notes on copying advise. Both hold back a sender that is eight messages ahead.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

import zmq
from zmq.asyncio import Context as AsyncContext
from zmq.asyncio import Socket as AsyncSocket

import lunar

Library = Literal["lunar", "pyzmq"]
Side = Literal["near", "far"]

LIBRARIES: tuple[Library, ...] = ("lunar", "pyzmq")
STAMP = struct.Struct("<Q")
TIMEOUT_S = 10.0

_QOS = lunar.QoS(history="keep_all", depth=8)
_NAMESPACE = "/demo/comparison"


@dataclass(frozen=True)
class BlockingLink:
    """One end, for a thread that waits in its calls.

    Attributes:
        send: Sends a small message.
        receive: Waits for one.
        send_image: Sends a time stamp and pixels.
        receive_image: Waits for them; returns the time stamp, in nanoseconds, and the pixels.
    """

    send: Callable[[bytes], object]
    receive: Callable[[], object]
    send_image: Callable[[bytearray], None]
    receive_image: Callable[[], tuple[int, memoryview]]


@dataclass(frozen=True)
class AsyncLink:
    """One end, for a coroutine."""

    send: Callable[[bytes], Awaitable[object]]
    receive: Callable[[], Awaitable[object]]


@contextmanager
def open_blocking(library: Library, side: Side, name: str) -> Iterator[BlockingLink]:
    """Opens one end; the other side opens the same name."""
    with (_lunar_blocking if library == "lunar" else _zmq_blocking)(side, name) as link:
        yield link


@asynccontextmanager
async def open_async(library: Library, side: Side, name: str) -> AsyncIterator[AsyncLink]:
    """Opens one end in a running loop; the other side opens the same name."""
    async with (_lunar_async if library == "lunar" else _zmq_async)(side, name) as link:
        yield link


def _topics(side: Side, name: str) -> tuple[str, str]:
    """Returns the topics that a side publishes and subscribes."""
    there, back = f"{name}/there", f"{name}/back"
    return (there, back) if side == "near" else (back, there)


@contextmanager
def _lunar_blocking(side: Side, name: str) -> Iterator[BlockingLink]:
    publishes, subscribes = _topics(side, name)
    with lunar.Node(f"{side}_{name}", namespace=_NAMESPACE) as node:
        pub = node.create_publisher(bytes, publishes, qos=_QOS)
        sub = node.create_subscription(bytes, subscribes, qos=_QOS)
        pub.wait_for_subscribers_blocking(1, TIMEOUT_S)
        sub.wait_for_publishers_blocking(1, TIMEOUT_S)

        def receive_image() -> tuple[int, memoryview]:
            message = sub.receive_blocking(TIMEOUT_S)
            return STAMP.unpack_from(message)[0], message[STAMP.size :]

        yield BlockingLink(
            send=pub.publish_blocking,
            receive=lambda: sub.receive_blocking(TIMEOUT_S),
            send_image=lambda image: pub.publish_blocking(image, TIMEOUT_S),
            receive_image=receive_image,
        )


@asynccontextmanager
async def _lunar_async(side: Side, name: str) -> AsyncIterator[AsyncLink]:
    publishes, subscribes = _topics(side, name)
    async with lunar.Node(f"{side}_{name}", namespace=_NAMESPACE) as node:
        pub = node.create_publisher(bytes, publishes, qos=_QOS)
        sub = node.create_subscription(bytes, subscribes, qos=_QOS)
        await pub.wait_for_subscribers(1, TIMEOUT_S)
        await sub.wait_for_publishers(1, TIMEOUT_S)
        yield AsyncLink(pub.publish, sub.receive)


def _prepare(socket: zmq.Socket[bytes] | AsyncSocket, side: Side, name: str) -> None:
    socket.set_hwm(_QOS.depth)
    socket.setsockopt(zmq.RCVTIMEO, int(TIMEOUT_S * 1000))
    socket.setsockopt(zmq.SNDTIMEO, int(TIMEOUT_S * 1000))
    socket.setsockopt(zmq.LINGER, 1000)
    # An abstract Unix socket: nothing to clean up.
    address = f"ipc://@lunar-demo-{name}"
    socket.bind(address) if side == "near" else socket.connect(address)


@contextmanager
def _zmq_blocking(side: Side, name: str) -> Iterator[BlockingLink]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        _prepare(socket, side, name)

        def send_image(image: bytearray) -> None:
            pixels = memoryview(image)
            # The stamp is copied; the pixels must not be, and are not written to again.
            socket.send(bytes(pixels[: STAMP.size]), zmq.SNDMORE)
            socket.send(pixels[STAMP.size :], copy=False)

        def receive_image() -> tuple[int, memoryview]:
            stamp, pixels = socket.recv_multipart(copy=False)
            return STAMP.unpack_from(stamp.buffer)[0], pixels.buffer

        yield BlockingLink(socket.send, socket.recv, send_image, receive_image)


@asynccontextmanager
async def _zmq_async(side: Side, name: str) -> AsyncIterator[AsyncLink]:
    with AsyncContext() as context, context.socket(zmq.DEALER) as socket:
        _prepare(socket, side, name)
        yield AsyncLink(socket.send, socket.recv)
