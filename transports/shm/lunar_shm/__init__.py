"""The shared-memory transport, `shm`: payloads in the publisher's sealed memfds, one queue a match.

The queues and pools themselves are the C core in `lunar._native`; this package makes the memory, passes it to the
peers over the link's socket, and checks what comes from there.
"""

from lunar_shm.transport import Transport

__all__ = ["Transport"]
