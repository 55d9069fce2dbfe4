"""A process of a codec run: ``python -m lunar_perf.codec_process CORE SLICE_S PASSES IMAGE_S``.

It measures everything that needs no second process, each codec in turns with the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import lunar
from lunar_perf.child import begin, tell
from lunar_perf.codec_image import measure_image
from lunar_perf.codec_peer import CODECS, Codec, load
from lunar_perf.codec_results import CodecRun
from lunar_perf.codec_snippets import Mixed, Scalars, codec_snippets, official_snippet, target_snippets, verified_sizes
from lunar_perf.codec_timing import time_us
from lunar_perf.codec_values import IMU

MATCH_S = 15.0


def measure(slice_s: float, passes: int, image_s: float) -> CodecRun:
    """Measure once; a codec that is missing or wrong is named in ``unavailable``."""
    codecs, sizes, unavailable = _open_codecs()
    with lunar.Node("codec") as node:
        with _received(node) as received:
            snippets = target_snippets(received, node.create_publisher(Mixed, "codec/mixed"))
            if "flatbuffers" in codecs:
                snippets.append(official_snippet())
            for name, codec in codecs.items():
                snippets += codec_snippets(name, codec)
            took_us = time_us(snippets, slice_s, passes)
        image = measure_image(node, image_s)
    return CodecRun(took_us, sizes, verified_sizes(), image, unavailable)


def _open_codecs() -> tuple[dict[str, Codec[object]], dict[str, int], dict[str, str]]:
    codecs: dict[str, Codec[object]] = {}
    sizes: dict[str, int] = {}
    unavailable: dict[str, str] = {}
    for name, entry in CODECS.items():
        reason = entry.missing()
        try:
            codec = load(name) if reason is None else None
        except ImportError as error:
            codec, reason = None, f"does not load: {error}"
        if codec is None:
            unavailable[name] = reason or ""
            continue
        data = codec.encode(codec.make(IMU))
        # What does not give back what it was given does other work than the rest.
        if codec.read_all(data) != IMU.flat() or codec.read_one(data) != IMU.linear_acceleration[-1]:
            unavailable[name] = "it gave other values back than it was given"
            continue
        codecs[name], sizes[name] = codec, len(data)
    return codecs, sizes, unavailable


@contextmanager
def _received(node: lunar.Node) -> Iterator[Scalars]:
    """A message of numbers as a subscription yields it."""
    pub = node.create_publisher(Scalars, "codec/scalars")
    sub = node.create_subscription(Scalars, "codec/scalars")
    pub.wait_for_subscribers_blocking(1, MATCH_S)
    pub.publish_blocking(Scalars(stamp_ns=1, position=2.0, speed=1.5, torque=0.5, ticks=3, moving=True))
    try:
        yield sub.receive_blocking(MATCH_S)
    finally:
        pub.close()
        sub.close()


def main(arguments: list[str]) -> int:
    """Arguments: core, seconds a statement and pass, passes, seconds for images."""
    core, slice_s, passes, image_s = arguments
    _, report = begin(int(core))
    tell(report, json.dumps(asdict(measure(float(slice_s), int(passes), float(image_s)))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
