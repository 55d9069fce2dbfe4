"""One pass over the memory: an Image filled in a loan and read where it lies, beside a memcpy of as many bytes."""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import lunar
from lunar.msgs import Image
from lunar_perf.floor import shared_memory

HEIGHT, WIDTH, CHANNELS = 1080, 1920, 3
IMAGE_BYTES = HEIGHT * WIDTH * CHANNELS
_RUN = 8
"""Images filled in a row, then as many copies: long enough for each to find its own memory in the caches."""


@dataclass(frozen=True, slots=True)
class ImageRates:
    """What one process measured.

    Attributes:
        fill_bytes_per_s: loaning, filling and publishing an image, by the median time.
        memcpy_bytes_per_s: memmove of as many bytes into shared memory, to as many places in turn, by the median time.
        places: different addresses that the images were written to.
        copies: received images whose pixels lay outside the memory that is shared with the publisher.
        received: how many were received.
    """

    fill_bytes_per_s: float
    memcpy_bytes_per_s: float
    places: int
    copies: int
    received: int


def measure_image(node: lunar.Node, duration_s: float) -> ImageRates:
    """Fill images, and copy memory, in turns.

    Args:
        node: gets a publisher and a subscription, which are closed again.
        duration_s: how long, in all.
    """
    images = _Images(node)
    images.fill(_RUN)  # its publisher's memory is there then
    fills: list[int] = []
    copies: list[int] = []
    with shared_memory(IMAGE_BYTES * len(images.places)) as base:
        places = [base + place * IMAGE_BYTES for place in range(len(images.places))]
        _copy(images.frame, places)
        deadline = time.perf_counter() + duration_s
        while not fills or time.perf_counter() < deadline:
            fills += images.fill(_RUN)
            copies += _copy(images.frame, places)
    images.close()
    fill, copy = (IMAGE_BYTES / statistics.median(took_ns) * 1e9 for took_ns in (fills, copies))
    return ImageRates(fill, copy, len(images.places), images.copies, images.received)


def _copy(frame: memoryview, places: list[int]) -> list[int]:
    """Copy the frame ``_RUN`` times; nanoseconds of each."""
    copy, source, now, took_ns = ctypes.memmove, address_of(frame), time.perf_counter_ns, []
    for index in range(_RUN):
        before = now()
        copy(places[index % len(places)], source, IMAGE_BYTES)
        took_ns.append(now() - before)
    return took_ns


class _Images:
    def __init__(self, node: lunar.Node) -> None:
        self._pub = node.create_publisher(Image, "codec/image")
        self._sub = node.create_subscription(Image, "codec/image")
        self._pub.wait_for_subscribers_blocking(1, 15)
        self.frame = memoryview(bytearray(os.urandom(IMAGE_BYTES)))
        self.places: dict[int, bool] = {}
        self.copies = self.received = 0

    def fill(self, count: int) -> list[int]:
        """Nanoseconds of each image from its loan's beginning until it is published."""
        now, took_ns = time.perf_counter_ns, []
        for _ in range(count):
            before = now()
            with self._pub.loan(
                height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * CHANNELS, data=IMAGE_BYTES
            ) as image:
                image.data[:] = self.frame
            took_ns.append(now() - before)
            del image
            self._look_at(self._sub.receive_blocking(5))
        return took_ns

    def _look_at(self, image: Image) -> None:
        pixels = memoryview(image.data)
        if pixels[:64] != self.frame[:64] or pixels[-64:] != self.frame[-64:]:
            raise RuntimeError("an image came with other pixels than were sent")
        address = address_of(pixels)
        if address not in self.places:
            self.places[address] = lies_in_shared_memory(address, pixels.nbytes)
        self.received += 1
        self.copies += not self.places[address]

    def close(self) -> None:
        self._pub.close()
        self._sub.close()


class _PyBuffer(ctypes.Structure):
    """`Py_buffer`, of CPython's stable ABI (docs.python.org, "Buffer Protocol")."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(memory: memoryview) -> int:
    """Where a memory begins, read-only or not."""
    view = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(memory), ctypes.byref(view), 0)
    address = view.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
    return address or 0


def lies_in_shared_memory(address: int, size_bytes: int) -> bool:
    """Whether all of a memory is in one mapping that is shared with other processes, as the kernel lists them."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, permissions = line.split()[:2]
        start, end = (int(number, 16) for number in where.split("-"))
        if start <= address and address + size_bytes <= end:
            return permissions.endswith("s")
    return False
