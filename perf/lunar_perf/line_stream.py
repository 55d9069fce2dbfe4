"""One conversation with another host: whole messages in and out, each within its time, whatever the other side does."""

from __future__ import annotations

import asyncio
from typing import Final

from lunar_perf.checked_fields import WireError
from lunar_perf.wire import LONGEST_LINE_BYTES, Beat, Message, decode, encode

BEAT_S: Final = 1.0
"""How often either side says that it is there."""
SILENCE_S: Final = 6.0
"""Who has said nothing for so long is taken for gone."""

_MOST_A_SECOND: Final = 20
"""Who says more than that, on average, is not one of us."""


class Gone(ConnectionError):
    """The other side has left, or says nothing any more."""


class LineStream:
    """A connected pair of streams, for one task that reads and any that write.

    Args:
        reader: made with the limit `LONGEST_LINE_BYTES`.
        writer: closed by `close`.
        silence_s: for how long the other side may say nothing.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence_s: float = SILENCE_S
    ) -> None:
        self._reader, self._writer = reader, writer
        self._silence_s = silence_s
        self._heard = 0
        self._since_s = asyncio.get_running_loop().time()

    @property
    def other_address(self) -> str:
        """The numeric address of the other side, as the kernel knows it."""
        return str((self._writer.get_extra_info("peername") or ("?",))[0])

    @property
    def own_address(self) -> str:
        """The numeric address that the other side reaches."""
        return str((self._writer.get_extra_info("sockname") or ("?",))[0])

    async def answer(self) -> Message:
        """The next message, in the part of the conversation in which nobody beats yet.

        Raises:
            Gone: the other side has closed the connection, or said nothing for too long.
            WireError: what came is no message, or a beat.
        """
        message = await self._read_any()
        if isinstance(message, Beat):
            raise WireError("beat at the wrong time")
        return message

    async def read(self) -> Message:
        """The next message but beats, for as long as they come.

        Raises:
            Gone: the other side has closed the connection, or said nothing for too long.
            WireError: what came is no message, or too much came.
        """
        while True:
            message = await self._read_any()
            if not isinstance(message, Beat):
                return message

    async def _read_any(self) -> Message:
        try:
            async with asyncio.timeout(self._silence_s):
                line = await self._reader.readline()
        except TimeoutError as error:
            raise Gone(f"said nothing for {self._silence_s:g} s") from error
        except ValueError as error:  # the reader's limit
            raise WireError(f"a line of more than {LONGEST_LINE_BYTES} bytes") from error
        except OSError as error:
            raise Gone(f"lost the connection: {error.strerror or error}") from error
        if not line.endswith(b"\n"):
            raise Gone("closed the connection")
        self._heard += 1
        elapsed_s = asyncio.get_running_loop().time() - self._since_s
        if self._heard > _MOST_A_SECOND * (elapsed_s + 5):
            raise WireError("more messages than anybody needs")
        return decode(line)

    async def write(self, message: Message) -> None:
        """Hand a message over.

        Raises:
            Gone: the other side has closed the connection, or takes nothing any more.
        """
        try:
            async with asyncio.timeout(self._silence_s):
                self._writer.write(encode(message))
                await self._writer.drain()
        except TimeoutError as error:
            raise Gone(f"took nothing for {self._silence_s:g} s") from error
        except OSError as error:
            raise Gone(f"lost the connection: {error.strerror or error}") from error

    async def beat(self) -> None:
        """Say that we are here, until cancelled or nobody hears it any more.

        Raises:
            Gone: see `write`.
        """
        while True:
            await asyncio.sleep(BEAT_S)
            await self.write(Beat())

    def close(self) -> None:
        """Hang up; a second call does nothing. What was written before is still sent if the other side reads it."""
        self._writer.close()
