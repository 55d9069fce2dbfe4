"""The images that the demo streams, and how one lies in a message.

A camera pans over a row of photographs, so each frame differs from the one before. The photographs ship inside
scikit-image's wheel; they are read from its folder, the library itself is not imported.

A message is a header of 64 bytes (one cache line, so the pixels are aligned) and the pixels, three bytes each, row by
row.
"""

import importlib.util
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]

# Frame number, width, height, CRC-32 of the pixels.
HEADER = struct.Struct("<QIII44x")
CHANNELS = 3

_PHOTOGRAPHS = (
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "motorcycle_left.png",
)
_PAN_PIXELS_A_FRAME = 12


class Camera:
    """Pans over the photographs.

    Args:
        width: Of a frame, in pixels.
        height: Likewise; the photographs are scaled to it.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        row = np.concatenate([_scaled(path, height) for path in find_photographs()], axis=1)
        self._turn_pixels = row.shape[1]
        # The beginning again at the end, so that a frame never has to be put together from two pieces.
        repeats = 1 + -(-width // self._turn_pixels)
        self._row = np.concatenate([row] * repeats, axis=1)[:, : self._turn_pixels + width]

    @property
    def message_bytes(self) -> int:
        """Size of a message, header included."""
        return HEADER.size + self.width * self.height * CHANNELS

    def view(self, number: int) -> Pixels:
        """Returns frame `number`, not contiguous: a part of the row of photographs."""
        left = number * _PAN_PIXELS_A_FRAME % self._turn_pixels
        return self._row[:, left : left + self.width]

    def shoot(self, number: int, buffer: memoryview) -> None:
        """Fills a buffer of `message_bytes` with frame `number`."""
        pixels = np.frombuffer(buffer, np.uint8, offset=HEADER.size)
        np.copyto(pixels.reshape(self.height, self.width, CHANNELS), self.view(number))
        HEADER.pack_into(buffer, 0, number, self.width, self.height, zlib.crc32(pixels))


@dataclass(frozen=True, slots=True)
class Frame:
    """A received message, taken apart.

    Attributes:
        number: Counts from 0.
        width: In pixels.
        height: In pixels.
        checksum: CRC-32 of the pixels as they were sent.
        pixels: The pixels as they were received; a view of the message.
    """

    number: int
    width: int
    height: int
    checksum: int
    pixels: memoryview

    @classmethod
    def of(cls, message: memoryview) -> "Frame":
        """Takes a message apart, without copying."""
        number, width, height, checksum = HEADER.unpack_from(message)
        return cls(number, width, height, checksum, message[HEADER.size :])

    def is_intact(self) -> bool:
        """Whether what was received is what was sent."""
        return len(self.pixels) == self.width * self.height * CHANNELS and zlib.crc32(self.pixels) == self.checksum

    def save(self, path: Path) -> None:
        """Writes it as a picture, straight from the message's memory."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombuffer("RGB", (self.width, self.height), self.pixels, "raw", "RGB", 0, 1).save(path, compress_level=1)


def checksum_of_file(path: Path) -> int:
    """Returns the CRC-32 of a picture's pixels."""
    with Image.open(path) as picture:
        return zlib.crc32(picture.convert("RGB").tobytes())


def find_photographs() -> list[Path]:
    """Returns the paths of the photographs.

    Raises:
        FileNotFoundError: scikit-image is not installed, or has none of them any more.
    """
    found = importlib.util.find_spec("skimage")
    folders = [] if found is None else list(found.submodule_search_locations or [])
    paths = [Path(folder, "data", name) for folder in folders for name in _PHOTOGRAPHS]
    existing = [path for path in paths if path.is_file()]
    if not existing:
        raise FileNotFoundError("no photographs: scikit-image is missing; remedy: pip install 'lunar-mom[demo]'")
    return existing


def _scaled(path: Path, height: int) -> Pixels:
    with Image.open(path) as photograph:
        width = round(photograph.width * height / photograph.height)
        return np.asarray(photograph.convert("RGB").resize((width, height)))
