"""Messages: FlatBuffers, written in place and read without a copy.

    types            what publishers and subscriptions ask of a message type
    coding, plain    messages to bytes and back; to dicts and JSON and back
    loading          classes from .fbs files        declaring    classes from annotations
    plan, message    schemas to classes             arrays       vectors of scalars
    flatc, bfbs, fbs_text, fields, annotations      what schemas are made from
    identity, evolution, schema_json                what two ends agree on
    schema           what a schema says
"""

from lunar.messages.coding import decode, encode, encode_into
from lunar.messages.message import Message
from lunar.messages.types import RAW_BYTES, MessageType, RawBytes, message_type

__all__ = ["RAW_BYTES", "Message", "MessageType", "RawBytes", "decode", "encode", "encode_into", "message_type"]
