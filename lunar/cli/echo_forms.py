"""How `lunar topic echo` prints samples: bytes as text, hex dump or JSON, typed messages by field, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from lunar.cli.output import escape_unprintable, write_bytes, write_error, write_json, write_line, write_note
from lunar.cli.payload import encode_payload, show_payload
from lunar.cli.quantities import plural
from lunar.errors import VerificationError

if TYPE_CHECKING:
    from lunar import Sample
    from lunar.cli.message_fields import FieldPath
    from lunar.cli.topic_types import TopicType

Form = Literal["text", "json", "raw", "csv"]
Show = Callable[["Sample[object]"], bool]
"""Prints a sample; False: it could not be read, and that has been said."""


@dataclass(frozen=True)
class EchoForm:
    """How messages are printed.

    Attributes:
        form: As text, JSON lines, CSV, or the bytes themselves.
        fields: Paths of the fields to print, empty for the whole message.
        full: Cut nothing.
        limit_bytes: Print at most so much of a message of bytes as text; None for all of it.
        verbose: Say who sent each message, when, and how large it is.
    """

    form: Form
    fields: tuple[str, ...] = ()
    full: bool = False
    limit_bytes: int | None = None
    verbose: bool = False


def printer(form: EchoForm, topic: str, topic_type: TopicType) -> Show:
    """Prepares printing; of CSV, prints the header.

    Args:
        form: How.
        topic: The topic's absolute name.
        topic_type: What its messages are.

    Raises:
        ValueError: Messages of that type cannot be printed so.
    """
    if form.form == "raw":
        return _print_raw
    if topic_type.is_raw:
        if form.fields or form.form == "csv":
            raise ValueError(f"messages on {topic} are bytes: they have no fields for --field and --csv")
        if form.form == "json":
            return lambda sample: _print_bytes_json(sample, topic)
        return lambda sample: _print_bytes(sample, form)
    return _typed_printer(form, topic, topic_type)


def _typed_printer(form: EchoForm, topic: str, topic_type: TopicType) -> Show:
    from lunar.cli.message_fields import find_field

    paths = [find_field(topic_type.message, text) for text in form.fields]
    if form.form == "json":
        print_one = _json_printer(topic, topic_type, paths)
    elif form.form == "csv":
        print_one = _csv_printer(topic_type, paths, form.verbose)
    else:
        print_one = _text_printer(form, topic_type, paths)

    def show(sample: Sample[object]) -> bool:
        try:
            print_one(sample)
        except VerificationError as error:
            # Another process wrote it, so it may be anything; the next one may be well.
            info = sample.info
            write_error(
                f"message {info.sequence_number} of publisher {info.publisher_id} is no {topic_type.name}: {error}"
            )
            return False
        return True

    return show


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _print_raw(sample: Sample[object]) -> bool:
    write_bytes(memoryview(sample))
    return True


def _print_bytes_json(sample: Sample[object], topic: str) -> bool:
    payload = encode_payload(memoryview(sample))
    write_json({**_origin(sample, topic), "encoding": payload.encoding, "data": payload.data})
    return True


def _print_bytes(sample: Sample[object], form: EchoForm) -> bool:
    if form.verbose:
        write_line(_origin_text(sample))
    write_line(show_payload(memoryview(sample), form.limit_bytes))
    return True


def _origin(sample: Sample[object], topic: str) -> dict[str, object]:
    return {
        "topic": topic,
        "sequence_number": sample.info.sequence_number,
        "source_time_ns": sample.info.source_time_ns,
        "reception_time_ns": sample.info.reception_time_ns,
        "publisher_id": sample.info.publisher_id,
        "size_bytes": sample.size_bytes,
    }


def _origin_text(sample: Sample[object]) -> str:
    info = sample.info
    sent = datetime.fromtimestamp(info.source_time_ns * 1e-9).astimezone().isoformat(timespec="microseconds")
    return f"# {info.sequence_number} from {info.publisher_id} at {sent}, {plural(sample.size_bytes, 'byte')}"


# ---- typed messages --------------------------------------------------------------------------------------------------


def _text_printer(form: EchoForm, topic_type: TopicType, paths: list[FieldPath]) -> Callable[[Sample[object]], None]:
    from lunar.cli.message_fields import described, is_single
    from lunar.cli.message_text import MessageText

    schema, _ = described(topic_type.message)
    text = MessageText(schema, form.full)
    # One value a line needs nothing between, and can be drawn or counted as it is.
    ends = [] if len(paths) == 1 and is_single(schema, paths[0].type) else ["---"]

    def lay_out(message: object) -> str:
        if not paths:
            return text.of_message(message)
        values = [(path, path.value_in(message)) for path in paths]
        if len(values) == 1:
            return text.of_value(values[0][1], paths[0].type)
        return "\n".join(text.of_field(path.text, value, path.type) for path, value in values)

    def print_one(sample: Sample[object]) -> None:
        shown = lay_out(sample.message)
        write_line("\n".join([*([_origin_text(sample)] if form.verbose else []), shown, *ends]))

    return print_one


def _json_printer(topic: str, topic_type: TopicType, paths: list[FieldPath]) -> Callable[[Sample[object]], None]:
    from lunar._native._codec import Message
    from lunar.messages.plain import Plain, to_dict

    def plain_of(value: object) -> Plain:
        # `to_dict` knows how each kind of value looks, but takes only whole messages.
        return to_dict(value) if isinstance(value, Message) else _plain_value(value)

    def _plain_value(value: object) -> Plain:
        from lunar.cli.message_fields import elements

        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()
        if value is None or isinstance(value, bool | float | str):
            return value
        if isinstance(value, int):
            name = getattr(value, "name", None)
            return name if isinstance(name, str) else int(value)
        return [plain_of(each) for each in elements(value)]

    def print_one(sample: Sample[object]) -> None:
        message = sample.message
        if paths:
            data: Plain = {path.text: plain_of(path.value_in(message)) for path in paths}
        else:
            data = plain_of(message)
        head = {**_origin(sample, topic), "encoding": "fields", "type": topic_type.name}
        try:
            write_json({**head, "data": data})
        except ValueError:
            write_json({**head, "data": finite(data)})

    return print_one


def finite(value: object) -> object:
    """Makes JSON-ready what JSON has no number for: "NaN", "Infinity", "-Infinity", as protobuf's JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list) else value


_ORIGIN_COLUMNS = ["sequence_number", "source_time_ns"]


def _csv_printer(topic_type: TopicType, paths: list[FieldPath], verbose: bool) -> Callable[[Sample[object]], None]:
    from lunar.cli.message_fields import described, scalar_columns
    from lunar.cli.message_text import csv_text

    schema, _ = described(topic_type.message)
    columns = scalar_columns(topic_type.message, paths)
    if columns.left_out:
        write_note(f"no columns for {', '.join(columns.left_out)}: no fixed number of values; --field chooses")
    _write_row([*(_ORIGIN_COLUMNS if verbose else []), *(path.text for path in columns.paths)])

    def print_one(sample: Sample[object]) -> None:
        message, info = sample.message, sample.info
        origin = [str(info.sequence_number), str(info.source_time_ns)] if verbose else []
        cells = [csv_text(path.value_in(message), path.type, schema) for path in columns.paths]
        _write_row([*origin, *cells])

    return print_one


def _write_row(cells: list[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    write_line(escape_unprintable(line.getvalue()))
