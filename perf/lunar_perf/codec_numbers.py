"""The table of numbers of `lunar perf codec`: every target of the codec, beside what was measured. Pure."""

from __future__ import annotations

import statistics

from lunar_perf.codec_results import CodecResults
from lunar_perf.numbers import Number
from lunar_perf.percentiles import Spread
from lunar_perf.results import Figures, ratio


def codec_numbers(results: CodecResults) -> list[Number]:
    """Every row, in the order of the issue that set the targets."""
    return [
        *_encoding(results),
        _reading(results),
        _round_trip(results),
        *_image(results),
        *_verifying(results),
    ]


def _encoding(results: CodecResults) -> list[Number]:
    mixed, official = results.took_us("mixed/lunar"), results.took_us("mixed/flatbuffers")
    lent, scalars = results.took_us("mixed/loan"), results.took_us("scalars/from values")
    return [
        Number(
            *("encode 10 float64, a string, 100 bytes", "at most", 1 / 15, "x the official builder"),
            *(ratio(mixed, official), _us(mixed), _us(official)),
            _at_hand(results.took_us("mixed/at hand")),
        ),
        Number(
            *("the same, in a loan", "at most", 1 / 15, "x the official builder"),
            *(ratio(lent, official), _us(lent), _us(official)),
            "from values until it is published, to no subscription" if lent else "",
        ),
        Number(
            *("encode a message of scalars only", "at most", 1.2, "us", _spread(scalars), _us(scalars), ""),
            _at_hand(results.took_us("scalars/at hand")),
        ),
    ]


def _at_hand(figures: Figures) -> str:
    return f"from values to bytes; of a message that exists {_us(figures)}" if figures else ""


def _reading(results: CodecResults) -> Number:
    read = results.took_us("read scalar")
    return Number("read one scalar of a received message", "at most", 0.25, "us", _spread(read), _us(read), "")


def _round_trip(results: CodecResults) -> Number:
    typed = {index: each.rtt_us.p50 for index, each in results.typed.items()}
    raw = {index: each.rtt_us.p50 for index, each in results.raw.items()}
    sizes = {f"{each.work.size_bytes} B either way" for each in results.typed.values()}
    return Number(
        *("ping-pong spin, Imu, p50", "at most", 2.5, "x as many bytes", ratio(typed, raw), _us(typed), _us(raw)),
        ", ".join(sorted(sizes)),
    )


def _image(results: CodecResults) -> list[Number]:
    images = results.images()
    fill = {index: each.fill_bytes_per_s for index, each in images.items()}
    copy = {index: each.memcpy_bytes_per_s for index, each in images.items()}
    copies = sum(each.copies for each in images.values())
    received = sum(each.received for each in images.values())
    places = max((each.places for each in images.values()), default=0)
    return [
        Number(
            *(
                "1920x1080x3 Image filled in a loan",
                "at least",
                0.7,
                "x memcpy",
                ratio(fill, copy),
                _gb(fill),
                _gb(copy),
            ),
            f"both to {places} places in turn" if images else "",
        ),
        Number(
            *("the same, copies by the reader", "at most", 0, "copies", Spread.of([copies]) if images else None),
            *(f"{copies}", "", f"{received:,} arrays, all of each in memory shared with the publisher")
            if images and not copies
            else ("", "", ""),
        ),
    ]


def _verifying(results: CodecResults) -> list[Number]:
    image, imu, text = (results.verified_bytes_per_s("image"), results.verifying_us("imu"), "")
    rates = results.verified_bytes_per_s("text")
    if rates:
        text = f"pixels need no check; text, every byte of which does: {_gb(rates)}"
    whole = results.took_us("decode/imu/verified")
    return [
        Number(
            *("verify an Image", "at least", 1.0, "GB/s", _spread(image, 1e9), _us(results.verifying_us("image")), ""),
            text,
        ),
        Number(
            *("verify an Imu", "at most", 1.0, "us", _spread(imu), _us(imu), ""),
            f"the whole of decode(): {_us(whole)}" if whole else "",
        ),
    ]


def _spread(figures: Figures, unit: float = 1.0) -> Spread | None:
    return Spread.of(list(figures.values())).over(unit) if figures else None


def _us(figures: Figures) -> str:
    return f"{statistics.median(figures.values()):.3f} us" if figures else ""


def _gb(figures: Figures) -> str:
    return f"{statistics.median(figures.values()) / 1e9:.1f} GB/s" if figures else ""
