"""What a codec run has measured, by repetition, and the figures that are formed of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from lunar_perf.codec_image import ImageRates
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.results import Failure, Figures

LEAST_US = 0.001
"""A difference of two times that is smaller, or not even positive, is only known to be less than this."""


@dataclass(frozen=True, slots=True)
class CodecRun:
    """What one process measured.

    Attributes:
        took_us: microseconds of each statement, by key (see :mod:`lunar_perf.codec_snippets`).
        sizes: bytes of the common message, by codec.
        verified_bytes: bytes of the messages that were verified, by name.
        image: the image filled in a loan.
        unavailable: codecs that could not be measured, with the reason.
    """

    took_us: Mapping[str, float]
    sizes: Mapping[str, int]
    verified_bytes: Mapping[str, int]
    image: ImageRates
    unavailable: Mapping[str, str]

    @classmethod
    def from_json(cls, text: str) -> CodecRun:
        """Read what a process reported."""
        fields = json.loads(text)
        return cls(**(fields | {"image": ImageRates(**fields["image"])}))


@dataclass(slots=True)
class CodecResults:
    """Everything, by repetition.

    Attributes:
        runs: what needs one process.
        typed: round trips of a message.
        raw: round trips of as many bytes.
        failures: what gave no result.
    """

    runs: dict[int, CodecRun] = field(default_factory=dict)
    typed: dict[int, PingPongResult] = field(default_factory=dict)
    raw: dict[int, PingPongResult] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def took_us(self, key: str) -> Figures:
        """A statement's time in each repetition, empty when not measured."""
        return {index: run.took_us[key] for index, run in self.runs.items() if key in run.took_us}

    def verifying_us(self, name: str) -> Figures:
        """What decoding with verifying takes longer than without."""
        plain, verified = self.took_us(f"decode/{name}"), self.took_us(f"decode/{name}/verified")
        return {index: max(LEAST_US, verified[index] - plain[index]) for index in plain if index in verified}

    def verified_bytes_per_s(self, name: str) -> Figures:
        """How fast a message is verified."""
        took_us = self.verifying_us(name)
        return {index: self.runs[index].verified_bytes[name] / us * 1e6 for index, us in took_us.items()}

    def images(self) -> Mapping[int, ImageRates]:
        """The image's rates."""
        return {index: run.image for index, run in self.runs.items()}

    @property
    def unavailable(self) -> dict[str, str]:
        """Codecs that some repetition could not measure, with the reason."""
        return {name: reason for run in self.runs.values() for name, reason in run.unavailable.items()}

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of the common message, by codec."""
        return next((run.sizes for run in self.runs.values()), {})
