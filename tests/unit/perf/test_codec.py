"""The codec's table of numbers, and what it is made of, without measuring."""

import json

from lunar_perf.codec import CodecComparison
from lunar_perf.codec_image import ImageRates
from lunar_perf.codec_numbers import codec_numbers
from lunar_perf.codec_peer import CODECS
from lunar_perf.codec_report import codec_json, codec_tables
from lunar_perf.codec_results import CodecResults, CodecRun
from lunar_perf.percentiles import LatencySummary, Spread
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.results import Failure
from lunar_perf.work import Work

ROWS = [
    "encode 10 float64, a string, 100 bytes",
    "the same, in a loan",
    "encode a message of scalars only",
    "read one scalar of a received message",
    "ping-pong spin, Imu, p50",
    "1920x1080x3 Image filled in a loan",
    "the same, copies by the reader",
    "verify an Image",
    "verify an Imu",
]


def run(factor: float = 1.0, copies: int = 0) -> CodecRun:
    took_us = {
        "mixed/lunar": 2.0 * factor,
        "mixed/loan": 1.5 * factor,
        "mixed/flatbuffers": 36.0,
        "mixed/at hand": 0.5,
        "scalars/from values": 0.9 * factor,
        "scalars/at hand": 0.4,
        "read scalar": 0.05 * factor,
        "decode/imu": 0.2,
        "decode/imu/verified": 0.2 + 0.1 * factor,
        "decode/image": 0.2,
        "decode/image/verified": 0.2 + 0.1 * factor,
        "decode/text": 0.2,
        "decode/text/verified": 1000.2,
        "lunar/encode": 0.5,
        "msgspec/encode": 0.25,
    }
    sizes = {"lunar": 369, "msgspec": 361}
    image = ImageRates(9e9, 10e9 * factor, 2, copies, 30)
    return CodecRun(took_us, sizes, {"imu": 369, "image": 6_000_000, "text": 10**6}, image, {"pycapnp": "not here"})


def round_trip(p50_us: float, message: str = "") -> PingPongResult:
    summary = LatencySummary(p50_us, p50_us, p50_us, p50_us, p50_us, p50_us)
    return PingPongResult("lunar", Work(369, message=message), summary, 0.1, 0.1, (0, 1), "", [])


def results(factor: float = 1.0, copies: int = 0) -> CodecResults:
    return CodecResults(
        {index: run(factor, copies) for index in range(3)},
        {index: round_trip(2.0 * factor, "Imu") for index in range(3)},
        {index: round_trip(1.0) for index in range(3)},
    )


def test_with_nothing_measured_every_row_is_there_and_none_is_met_or_missed() -> None:
    rows = codec_numbers(CodecResults())
    assert [row.work for row in rows] == ROWS
    assert {row.met for row in rows} == {None}


def test_every_row_is_met_or_missed_by_its_own_target() -> None:
    assert {row.work: row.met for row in codec_numbers(results())} == dict.fromkeys(ROWS, True)
    slow = {row.work: row.met for row in codec_numbers(results(factor=20.0, copies=1))}
    assert slow == {**dict.fromkeys(ROWS, False), "verify an Image": True}


def test_a_ratio_pairs_the_typed_and_the_raw_round_trip_of_a_repetition() -> None:
    measured = results()
    measured.typed[0], measured.raw[0] = round_trip(8.0, "Imu"), round_trip(4.0)
    (row,) = [row for row in codec_numbers(measured) if row.work.startswith("ping-pong")]
    assert row.value == Spread(2.0, 2.0, 2.0)


def test_verifying_in_no_measurable_time_is_still_a_rate() -> None:
    measured = CodecResults({0: run(factor=0.0)})
    assert measured.verified_bytes_per_s("image") == {0: 6e6 / 0.001 * 1e6}


def test_a_run_survives_its_way_between_processes() -> None:
    from dataclasses import asdict

    assert CodecRun.from_json(json.dumps(asdict(run()))) == run()


def test_the_report_names_every_codec_and_what_is_missing() -> None:
    measured = results()
    measured.failures.append(Failure("typed", 1, "it hung"))
    comparison = CodecComparison(measured, 3, 20.0, 0.25)
    document = json.loads(json.dumps(codec_json(comparison), allow_nan=False))
    assert [row["work"] for row in document["numbers"]] == ROWS
    assert [(each["codec"], each["size_bytes"], each["encode_us"]["median"]) for each in document["codecs"]] == [
        ("lunar", 369, 0.5),
        ("msgspec", 361, 0.25),
    ]
    assert document["codecs"][1]["read_all_us"] is None
    assert [(each["codec"], each["reason"]) for each in document["unavailable"]] == [("pycapnp", "not here")]
    assert document["failures"][0]["reason"] == "it hung"
    assert [each["message"] for each in document["ping_pongs"]] == ["Imu"] * 3 + ["bytes"] * 3

    numbers, codecs = codec_tables(comparison)
    assert len(numbers.rows) == len(ROWS)
    assert [row[0] for row in codecs.rows] == list(CODECS)
    assert all(len(row) == len(table.headings) for table in (numbers, codecs) for row in table.rows)
    shown = {row[0]: " ".join(row) for row in codecs.rows}
    assert "unavailable: not here" in shown["pycapnp"]
    assert "0.25, x0.5" in shown["msgspec"]
