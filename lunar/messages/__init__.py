"""Messages: FlatBuffers, written in place and read without a copy.

Where to look: `types` is what publishers and subscriptions ask of a message type; `coding` and `plain` turn messages
into bytes, dicts and JSON and back; `loading` makes classes from `.fbs` files (by way of `flatc` and `bfbs`),
`declaring` from annotated classes (`fields`, `annotations`), and both go through `schema`, `plan` and `message`;
`identity`, `evolution` and `schema_json` are what two ends agree on.
"""

from lunar.messages.coding import decode, encode, encode_into
from lunar.messages.message import Message
from lunar.messages.types import RAW_BYTES, MessageType, RawBytes, StructuredType, message_type

__all__ = [
    # Messages and bytes
    "Message",
    "decode",
    "encode",
    "encode_into",
    # Message types
    "RAW_BYTES",
    "MessageType",
    "RawBytes",
    "StructuredType",
    "message_type",
]
