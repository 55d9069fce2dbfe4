"""The messages that `--message` sends."""

from pathlib import Path

import pytest
from lunar_perf.typed_messages import UnknownMessage, encoded_bytes, loan_fields, message_class, sample_of

from lunar import msgs
from lunar.messages import Message, decode, encode

MESSAGES = [name for name in dir(msgs) if name[0].isupper() and issubclass(getattr(msgs, name), Message)]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_standard_message_can_be_sent(name: str) -> None:
    cls = message_class(name)
    sample = sample_of(cls)
    assert decode(cls, encode(sample)) == sample
    assert encoded_bytes(name) == len(encode(sample))


def test_an_image_is_a_picture() -> None:
    image = sample_of(message_class("Image"))
    assert isinstance(image, msgs.Image)
    assert (image.height, image.width, image.step, len(image.data)) == (1080, 1920, 5760, 6_220_800)
    fields = loan_fields(image)
    assert (fields["data"], fields["encoding"], fields["height"]) == (6_220_800, "rgb8", 1080)


def test_a_class_of_a_file_is_found_by_its_last_or_full_name(tmp_path: Path) -> None:
    source = tmp_path / "robot.fbs"
    source.write_text(
        """namespace robot;
        enum Mode: uint8 { OFF, ON }
        table Wheel { speed: float; torque: [float]; next: Wheel; }
        union Part { Wheel, name: string }
        table State { mode: Mode; wheels: [Wheel]; part: Part; name: string (required); raw: [uint8];
                      maybe: int = null; }
        root_type State;"""
    )
    cls = message_class(f"{source}:State")
    assert message_class(f"{source}:robot.State") is cls
    sample = sample_of(cls)
    assert decode(cls, encode(sample)) == sample
    absent = [name for name in cls.__match_args__ if getattr(sample, name) is None]
    assert absent == []
    with pytest.raises(UnknownMessage, match="no message but an enum"):
        message_class(f"{source}:Mode")
    with pytest.raises(UnknownMessage, match="defines no Arm"):
        message_class(f"{source}:Arm")


@pytest.mark.parametrize("name", ["CarrierPigeon", "/no/such.fbs:State"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(UnknownMessage, match=r"CarrierPigeon|no/such\.fbs"):
        message_class(name)
