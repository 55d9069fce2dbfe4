"""`lunar perf` as a user runs it: real processes, real messages. No test looks at how fast anything is."""

import json
import subprocess
import sys

import psutil
import pytest
from lunar_perf.codec_peer import CODECS
from lunar_perf.peer import PEERS

LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]


def perf(*arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([*LUNAR, "perf", *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stderr
    assert psutil.Process().children(recursive=True) == []
    return done


def measured(*arguments: str) -> dict[str, object]:
    document = json.loads(perf(*arguments, "--json").stdout)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("wait", ["spin", "adaptive", "sleep"])
@pytest.mark.parametrize("form", [[], ["--loan"]], ids=["copied", "loaned"])
def test_ping_pong(wait: str, form: list[str]) -> None:
    document = measured("ping-pong", "--wait", wait, "--size", "1000", "--count", "200", "--warmup", "5", *form)
    expected = {"transport": "shm", "wait": wait, "size_bytes": 1000, "count": 200}
    assert {key: document[key] for key in expected} == expected
    rtt_us = document["rtt_us"]
    assert isinstance(rtt_us, dict)
    figures = [rtt_us[name] for name in ("min", "p50", "p90", "p99", "p999", "max")]
    assert figures == sorted(figures)
    assert figures[0] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--wait", "spin"],
        ["--wait", "spin", "--receive", "burst", "--batch", "16"],
        ["--wait", "spin", "--loan"],
        ["--receive", "iterate"],
        ["--receive", "callback"],
        ["--receive", "burst", "--batch", "16"],
        ["--batch", "16"],
        ["--loan"],
        ["--wait", "sleep"],
        ["--subscribers", "2"],
        ["--size", "300000"],
    ],
    ids=" ".join,
)
def test_reliable_throughput_loses_nothing(arguments: list[str]) -> None:
    document = measured("throughput", "--seconds", "0.1", *arguments)
    subscribers = 2 if "--subscribers" in arguments else 1
    sent, received = document["sent"], document["received"]
    assert isinstance(sent, int)
    assert sent > 0
    assert (received, document["lost"], document["repeated"]) == (sent * subscribers, 0, 0)
    assert isinstance(document["msgs_per_s"], float)
    assert document["msgs_per_s"] > 0


@pytest.mark.parametrize("receive", ["iterate", "burst"])
def test_best_effort_throughput_accounts_for_every_message(receive: str) -> None:
    arguments = ("--reliability", "best_effort", "--receive", receive, "--depth", "4")
    document = measured("throughput", "--seconds", "0.1", *arguments)
    sent, received, lost = (document[key] for key in ("sent", "received", "lost"))
    assert isinstance(received, int)
    assert isinstance(lost, int)
    assert received + lost == sent


@pytest.mark.parametrize("wait", ["spin", "adaptive"])
@pytest.mark.parametrize("form", [[], ["--loan"]], ids=["copied", "loaned"])
def test_ping_pong_of_messages(wait: str, form: list[str]) -> None:
    arguments = ("--wait", wait, "--message", "JointState", "--count", "100", "--warmup", "5", *form)
    document = measured("ping-pong", *arguments)
    assert (document["message"], document["count"], document["wait"]) == ("JointState", 100, wait)
    size_bytes = document["size_bytes"]
    assert isinstance(size_bytes, int)
    assert size_bytes > 100


@pytest.mark.parametrize(
    "arguments",
    [[], ["--wait", "spin"], ["--loan"], ["--wait", "spin", "--loan"], ["--batch", "8"], ["--subscribers", "2"]],
    ids=" ".join,
)
def test_reliable_throughput_of_messages_loses_nothing(arguments: list[str]) -> None:
    document = measured("throughput", "--seconds", "0.1", "--message", "Imu", *arguments)
    subscribers = 2 if "--subscribers" in arguments else 1
    sent, received = document["sent"], document["received"]
    assert isinstance(sent, int)
    assert sent > 0
    assert (received, document["lost"], document["repeated"]) == (sent * subscribers, 0, 0)
    assert (document["message"], document["receive"]) == ("Imu", "burst")


@pytest.mark.parametrize("wait", ["spin", "adaptive"])
def test_best_effort_throughput_of_messages_accounts_for_every_one(wait: str) -> None:
    arguments = ("--wait", wait, "--reliability", "best_effort", "--depth", "4", "--message", "Imu")
    document = measured("throughput", "--seconds", "0.1", *arguments)
    sent, received, lost = (document[key] for key in ("sent", "received", "lost"))
    assert isinstance(received, int)
    assert isinstance(lost, int)
    assert received + lost == sent


@pytest.mark.slow
def test_codec() -> None:
    document = measured("codec", "--seconds", "0.3", "--repetitions", "1")
    assert document["failures"] == []
    rows = document["numbers"]
    assert isinstance(rows, list)
    measurable = [row for row in rows if CODECS["flatbuffers"].missing() is None or "builder" not in row["target"]]
    assert len(rows) == 9
    assert [row["work"] for row in measurable if row["met"] is None] == []
    verdicts = {row["work"]: row["met"] for row in rows}
    assert verdicts["the same, copies by the reader"] is True
    codecs, unavailable = document["codecs"], document["unavailable"]
    assert isinstance(codecs, list)
    assert isinstance(unavailable, list)
    assert [each["codec"] for each in codecs] == [name for name in CODECS if CODECS[name].missing() is None]
    assert [each["codec"] for each in unavailable] == [name for name in CODECS if CODECS[name].missing() is not None]


def test_fanout() -> None:
    arguments = ["--size", "1000", "--subscriptions", "4", "--processes", "2", "--rounds", "2", "--publishes", "10"]
    document = measured("fanout", *arguments)
    publish_us = document["publish_us"]
    assert isinstance(publish_us, dict)
    assert list(publish_us) == ["1", "2", "4"]
    assert isinstance(document["delivered"], int)
    assert isinstance(document["overwritten"], int)
    publishes = 2 * (10 + 20)
    assert document["delivered"] + document["overwritten"] == publishes * (1 + 2 + 4)


@pytest.mark.wakeups
def test_footprint() -> None:
    document = measured("footprint", "--processes", "4", "--seconds", "1")
    crowd, idle = document["crowd"], document["idle"]
    assert isinstance(crowd, dict)
    assert isinstance(idle, dict)
    assert (crowd["processes"], crowd["matches"]) == (4, 16)
    assert idle["wakeups_per_s"] == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_comparison_works_with_whatever_peers_there_are() -> None:
    document = measured("compare", "--quick", "--repetitions", "1", "--only", "pyzmq")
    missing = PEERS["pyzmq"].missing()
    unavailable = (
        [] if missing is None else [{"peer": "pyzmq", "reason": missing, "remedy": "pip install lunar-mom[compare]"}]
    )
    assert document["unavailable"] == unavailable
    assert document["failures"] == []
    rows = document["numbers"]
    assert isinstance(rows, list)
    verdicts = {row["work"]: row["met"] for row in rows if row["theirs"] == ""}
    assert verdicts["64 B one way, burst"] is not None
    assert isinstance(document["ping_pongs"], dict)
    assert ("ping-pong/pyzmq/64" in document["ping_pongs"]) is (missing is None)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["throughput", "--wait", "spin", "--receive", "iterate"], "needs an event loop"),
        (["throughput", "--receive", "blocking"], "goes with --wait spin"),
        (["throughput", "--loan", "--batch", "2"], "exclude each other"),
        (["throughput", "--size", "7"], "x>=8"),
        (["ping-pong", "--transport", "smoke-signals"], "'shm'"),
        (["fanout", "--processes", "3", "--subscriptions", "2"], "at most one each"),
        (["ping-pong", "--message", "CarrierPigeon"], "CarrierPigeon"),
        (["ping-pong", "--message", "Imu", "--size", "64"], "exclude each other"),
        (["throughput", "--message", "Imu", "--receive", "callback"], "with --message: burst"),
        (["codec", "--seconds", "0"], "x>=0.2"),
        (["compare", "--only", "carrier-pigeon"], "unknown peer carrier-pigeon"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], complaint: str) -> None:
    assert complaint in " ".join(perf(*arguments, status=2).stderr.replace("│", " ").split())


def test_every_command_has_help_with_examples() -> None:
    for command in ("ping-pong", "throughput", "fanout", "footprint", "compare", "codec"):
        assert f"lunar perf {command}" in perf(command, "--help").stdout


def test_a_plain_result_is_a_table_and_progress_is_on_stderr() -> None:
    done = perf("ping-pong", "--count", "50", "--warmup", "2")
    assert "p99.9" in done.stdout
    assert "round trips" in done.stderr
