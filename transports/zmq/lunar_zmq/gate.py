"""Who is let in: the answers to ZAP, the ZeroMQ authentication protocol (RFC 27). Pure.

libzmq asks within the process, on an inproc socket, before a connection comes about. It needs no thread of pyzmq's: the
engine answers in its own `work`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["DOMAIN", "ENDPOINT", "answer", "z85"]

ENDPOINT: Final = "inproc://zeromq.zap.01"
DOMAIN: Final = b"lunar"

_Z85: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
# The alphabet of base64's b85 in the order of its values, to translate from.
_B85: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TO_Z85: Final = bytes.maketrans(_B85, _Z85)


def z85(key: bytes) -> str:
    """Returns a key of 32 bytes as text (RFC 32)."""
    return base64.b85encode(key).translate(_TO_Z85).decode()


def answer(request: Sequence[bytes], allows: Callable[[str], bool]) -> list[bytes]:
    """Answers a request.

    Args:
        request: Its frames: version, request id, domain, address, identity, mechanism, credentials.
        allows: Says whether a public key is let in.

    Returns:
        The frames of the answer. A peer that is let in is known by its key from then on.
    """
    request_id = request[1] if len(request) > 1 else b""
    if len(request) == 7 and request[0] == b"1.0" and request[2] == DOMAIN and request[5] == b"CURVE":
        key = z85(request[6]) if len(request[6]) == 32 else ""
        if key and allows(key):
            return [b"1.0", request_id, b"200", b"OK", key.encode(), b""]
    return [b"1.0", request_id, b"400", b"not allowed", b"", b""]
