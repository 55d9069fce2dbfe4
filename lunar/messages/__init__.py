"""Messages: FlatBuffers, written in place and read without a copy.

Where to look: `types` is what publishers and subscriptions ask of a message type; `coding` and `plain` turn messages
into bytes, dicts and JSON and back; `loading` makes classes from `.fbs` files (by way of `flatc` and `bfbs`),
`declaring` from annotated classes (`fields`, `annotations`), and both go through `schema`, `plan` and `message`;
`identity`, `evolution` and `schema_json` are what two ends agree on.
"""

from typing import TYPE_CHECKING

from lunar.messages.coding import decode, encode, encode_into, to_fbs
from lunar.messages.message import Message
from lunar.messages.types import RAW_BYTES, MessageType, RawBytes, message_type

if TYPE_CHECKING:
    from lunar.messages.loading import Interfaces, load
    from lunar.messages.plain import from_dict, from_json, to_dict, to_json

__all__ = [
    # Message classes
    "Interfaces",
    "load",
    "to_fbs",
    # Messages as dicts and JSON
    "from_dict",
    "from_json",
    "to_dict",
    "to_json",
    # Messages and bytes
    "Message",
    "decode",
    "encode",
    "encode_into",
    # Message types
    "RAW_BYTES",
    "MessageType",
    "RawBytes",
    "message_type",
]

_IMPORTED_LATE = {
    **dict.fromkeys(("Interfaces", "load"), "loading"),
    **dict.fromkeys(("from_dict", "from_json", "to_dict", "to_json"), "plain"),
}


def __getattr__(name: str) -> object:
    # Not everybody loads schemas: what that takes is imported when it is first asked for.
    if name not in _IMPORTED_LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_IMPORTED_LATE[name]}"), name)
    globals()[name] = found
    return found
