"""The examples as their users run them: real processes, in short form."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TIMEOUT_S = 45
SMALL = ("--size", "320x240", "--rate", "20")

Start = Callable[..., "subprocess.Popen[str]"]

missing = [name for name in ("PIL", "numpy", "psutil", "skimage", "zmq") if importlib.util.find_spec(name) is None]
needs_demo = pytest.mark.skipif(
    bool(missing),
    reason=f"the extra lunar-mom[demo] is not installed (no {', '.join(missing)}); `make demo` installs it",
)


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(script, *arguments)``: a running example, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
        # The scripts of an example import each other from their own folder.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONUNBUFFERED": "1"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Waits for an example's end: exit code, stdout, stderr."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def start_streaming(start: Start, picture: Path) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    """Starts a demo that would run for minutes; returns once images arrive, with its three child processes."""
    demo = start("demo/demo.py", *SMALL, "--seconds", "600", "--no-comparison", "--picture", str(picture))
    while "host telemetry" not in next_line(demo):
        assert demo.poll() is None
    children = psutil.Process(demo.pid).children()
    assert len(children) == 3
    return demo, children


def all_ended(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, timeout=TIMEOUT_S)[1] == []


def test_the_listener_prints_what_the_talker_says(start: Start) -> None:
    listener = start("chatter/listener.py")
    talker = start("chatter/talker.py")
    lines = [next_line(listener) for _ in range(12)]
    assert lines[:10] == [f"b'hello {number}'\n" for number in range(10)]
    assert lines[10].startswith("b'frame")
    assert lines[11] == "b'now'\n"
    assert finish(talker) == (0, "", "")


def test_typed_messages_are_shown_as_they_were_sent(start: Start) -> None:
    viewer = start("typed/viewer.py")
    publisher = start("typed/publisher.py")
    assert finish(publisher) == (0, "", "")
    assert finish(viewer) == (
        0,
        """\
Wheel(stamp_ns=1, speed=2.0, torque=0.0, label=None, ticks=[0, 1, 2, 3])
4096 ticks at 2.5 rad/s, the last 4095
16428 bytes as a FlatBuffer; equal when read back: True
r1 is at 1.0, 2.0
{"header": {"stamp": {"sec": 3, "nanosec": 500}, "frame_id": "imu_link"}, \
"linear_acceleration": {"x": 0.0, "y": 0.0, "z": 9.81}}
Wheel(stamp_ns=1, speed=2.0, torque=0.0, label='kept', ticks=[0, 1, 2, 3])
""",
        "",
    )


def test_the_quick_start_of_the_readme_runs(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "quick_start.py"
    script.write_text((ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0])
    assert finish(start(str(script))) == (0, "b'hello'\n", "")


@needs_demo
def test_the_demo_accounts_for_every_sample_and_writes_an_image(start: Start, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "received.png"
    code, out, err = finish(
        start("demo/demo.py", *SMALL, "--seconds", "1", "--no-comparison", "--json", "--picture", str(picture))
    )
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert {(one["subscriber"], one["topic"]) for one in result["streams"]} == {
        (name, f"/demo/{topic}") for name in ("viewer", "recorder") for topic in ("image", "telemetry")
    }
    for stream in result["streams"]:
        assert stream["received"] > 0
        assert stream["received"] + stream["lost"] == result["published"][stream["topic"]]
        assert 0 < stream["latency_us"]["p50"] <= stream["latency_us"]["max"]
    assert set(result["images_damaged"].values()) == {0}
    assert result["host"]["memory_total_bytes"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert result["picture"]["path"] == str(picture)


@needs_demo
@pytest.mark.slow
def test_the_demo_compares_itself_with_pyzmq(start: Start, tmp_path: Path) -> None:
    picture = tmp_path / "image.png"
    demo = start("demo/demo.py", *SMALL, "--seconds", "0.5", "--rounds", "1", "--picture", str(picture))
    code, out, err = finish(demo)
    assert (code, err) == (0, "")
    assert f"as received: {picture}\n" in out
    for work in (
        "image, from sent",
        "images, as fast",
        "64 B there and back, asyncio",
        "64 B there and back, blocking",
    ):
        assert work in out


@needs_demo
def test_ctrl_c_ends_the_demo_and_its_children(start: Start, tmp_path: Path) -> None:
    demo, children = start_streaming(start, tmp_path / "image.png")
    demo.send_signal(signal.SIGINT)
    code, out, err = finish(demo)
    assert (code, err) == (130, "")
    assert out.endswith("interrupted\n")
    assert all_ended(children)


@needs_demo
@pytest.mark.faults
def test_killing_the_demo_ends_its_children(start: Start, tmp_path: Path) -> None:
    demo, children = start_streaming(start, tmp_path / "image.png")
    demo.kill()
    assert all_ended(children)


@needs_demo
@pytest.mark.faults
@pytest.mark.parametrize("script", ["publisher.py", "subscriber.py"])
def test_the_demo_fails_when_one_of_its_processes_dies(start: Start, tmp_path: Path, script: str) -> None:
    demo, children = start_streaming(start, tmp_path / "image.png")
    victim = next(child for child in children if script in child.cmdline()[1])
    victim.kill()
    code, _, err = finish(demo)
    assert code == 1
    assert err == f"the demo failed: {script} failed (exit code -9)\n"
    assert all_ended(children)


@needs_demo
def test_the_demo_fails_when_its_processes_cannot_start(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNAR_RUNTIME_DIR", "not/absolute")
    code, _, err = finish(start("demo/demo.py", *SMALL, "--no-comparison", "--picture", str(tmp_path / "image.png")))
    assert code == 1
    assert "LUNAR_RUNTIME_DIR" in err
    assert "the demo failed" in err


@needs_demo
def test_the_demo_notices_an_image_that_differs(start: Start, tmp_path: Path) -> None:
    # In a process of its own, because the example's modules are no package.
    script = tmp_path / "flip.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(EXAMPLES / 'demo')!r})\n"
        "from image import HEADER, Camera, Frame\n"
        "camera = Camera(64, 48)\n"
        "message = bytearray(camera.message_bytes)\n"
        "camera.shoot(7, memoryview(message))\n"
        "print(Frame.of(memoryview(message)).number, Frame.of(memoryview(message)).is_intact())\n"
        "message[HEADER.size + 1000] ^= 1\n"
        "print(Frame.of(memoryview(message)).is_intact())\n"
    )
    assert finish(start(str(script))) == (0, "7 True\nFalse\n", "")
