"""The transport as the entry-point group `lunar.transports` finds it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lunar import abc
from lunar._native.control import check_memory, create_memory, seal_memory
from lunar.errors import LunarError
from lunar_shm.publisher_end import ShmPublisherEnd
from lunar_shm.receiver_end import ShmReceiverEnd

if TYPE_CHECKING:
    from lunar._native._bus import Peer

__all__ = ["Transport"]


class Transport(abc.Transport):
    """Zero-copy between processes of one host."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its name, "shm"."""
        return "shm"

    @property
    def capabilities(self) -> abc.Capabilities:
        """One host, zero-copy, reliable; a message is limited by memory alone."""
        return abc.Capabilities(reach="host", zero_copy=True, reliable=True)

    def probe(self) -> abc.Probe:
        """Makes and seals a page, as a publisher would."""
        try:
            fd = create_memory("lunar-probe", 4096)
            try:
                seal_memory(fd, read_only=True)
                sealed = check_memory(fd, 4096)
            finally:
                os.close(fd)
        except LunarError as error:
            return abc.Probe(False, str(error), "Linux 5.1 or later is needed, and room for one more descriptor")
        if not sealed:
            return abc.Probe(False, "memfd seals do not hold here", "use a kernel with memfd sealing (Linux 5.1)")
        return abc.Probe(True)

    def open_publisher(self, publisher_id: str, pool_bytes: int) -> ShmPublisherEnd:
        """Opens the sending side of one publisher."""
        return ShmPublisherEnd(publisher_id, pool_bytes)

    def open_receiver(self, peer: Peer) -> ShmReceiverEnd:
        """Opens the receiving side for one peer."""
        return ShmReceiverEnd(peer)
