"""The standard messages: generated from idl/, and what they are like."""

# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lunar
import lunar.msgs
from lunar.messages import decode, encode, from_json, to_json, types
from lunar.messages.loading import load

ROOT = Path(__file__).resolve().parents[2]
IDL = ROOT / "idl"
MSGS = Path(lunar.msgs.__file__).parent


def generator():
    spec = importlib.util.spec_from_file_location("generate", IDL / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["standard.bfbs", "__init__.pyi"])
def test_what_is_generated_is_what_the_schemas_say(tmp_path: Path, name: str) -> None:
    generator().generate(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["__init__.pyi", "standard.bfbs"]
    # Compared first, so that a failure does not print a megabyte.
    same = (tmp_path / name).read_bytes() == (MSGS / name).read_bytes()
    assert same, f"lunar/msgs/{name} is not what idl/ says: run `python idl/generate.py`"


def test_a_change_of_a_schema_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = generator()
    changed = tmp_path / "idl"
    changed.mkdir()
    for path in IDL.glob("*.fbs"):
        (changed / path.name).write_text(path.read_text().replace("table Imu {", "table Imu { drift: double;"))
    monkeypatch.setattr(module, "IDL", changed)
    (tmp_path / "out").mkdir()
    module.generate(tmp_path / "out")
    for name in ("standard.bfbs", "__init__.pyi"):
        assert (tmp_path / "out" / name).read_bytes() != (MSGS / name).read_bytes()


NAMES = dir(lunar.msgs)


def test_the_standard_set_is_there() -> None:
    assert {
        *("Header", "Time", "Duration", "Vector3", "Point", "Quaternion", "Pose", "PoseStamped", "Twist", "Transform"),
        *("Image", "CompressedImage", "PointCloud2", "Imu", "LaserScan", "JointState", "NavSatFix", "Odometry", "Path"),
        *("DiagnosticArray", "DiagnosticStatus", "TFMessage", "TransformStamped"),
    } <= set(NAMES)
    with pytest.raises(AttributeError, match="the schema defines no Imus; it has"):
        _ = lunar.msgs.Imus
    with pytest.raises(ImportError, match="cannot import name 'Imus'"):
        from lunar.msgs import Imus  # noqa: F401
    with pytest.raises(AttributeError, match="has no attribute '_private'"):
        _ = lunar.msgs._private


@pytest.mark.parametrize("name", NAMES)
def test_each_class_makes_messages(name: str) -> None:
    cls = getattr(lunar.msgs, name)
    assert cls.__name__ == name
    assert cls.__module__ == "lunar.msgs"
    assert getattr(lunar.msgs, name) is cls
    if not issubclass(cls, lunar.Message):
        assert issubclass(cls, int)
        return
    assert len(types.message_type(cls).hash) == 32
    message = cls()
    try:
        data = encode(message)
    except lunar.FieldError as error:
        assert "required" in str(error)  # noqa: PT017 - most have nothing required
        return
    view = decode(cls, data)
    assert view == message == view.copy() == from_json(cls, to_json(message))
    assert repr(view) == repr(message)


def test_both_ways_of_loading_give_the_same_types(tmp_path: Path) -> None:
    loaded = load(IDL / "all.fbs")
    for name in NAMES:
        cls = getattr(lunar.msgs, name)
        if issubclass(cls, lunar.Message):
            assert types.message_type(getattr(loaded, name)).hash == types.message_type(cls).hash


def test_an_imu_and_an_image_hold_what_they_are_given() -> None:
    from lunar.msgs import Header, Image, Imu, Quaternion, Time, Vector3

    imu = Imu(
        header=Header(stamp=Time(1, 2), frame_id="imu"),
        orientation=Quaternion(0, 0, 0, 1),
        angular_velocity=Vector3(x=0.1, y=0.2, z=0.3),
    )
    view = decode(Imu, encode(imu))
    assert view == imu
    assert (view.header.stamp.nanosec, view.header.frame_id, view.angular_velocity.z) == (2, "imu", 0.3)
    frame = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = Image(height=2, width=3, encoding="rgb8", step=9, data=frame)
    view = decode(Image, encode(image))
    assert (view.data.reshape(2, 3, 3) == frame).all()
    assert view == image


def test_importing_a_class_takes_no_numpy_and_no_compiler() -> None:
    code = """
import sys
from lunar.msgs import Twist
Twist()
assert "numpy" not in sys.modules
print("done")
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("done\n", "")


SNIPPET = """
import lunar
from lunar.msgs import Imu, Header, Image, NavSatFix, Path, PoseStamped, Twist, Vector3

imu = Imu(header=Header(frame_id="imu"), angular_velocity=Vector3(x=1.0, y=2, z=3.0))
if imu.header is not None:
    reveal_type(imu.header.frame_id)
reveal_type(imu.copy())
path = Path(poses=[PoseStamped()])
reveal_type(path.poses)
image = Image(height=2, data=b"abc")
reveal_type(image.data)
reveal_type(lunar.messages.decode(Imu, lunar.messages.encode(imu)))
match imu:
    case Imu(header=Header(frame_id=frame)):
        reveal_type(frame)
Vector3(x="a")  # refused
Imu(hedaer=Header())  # refused
imu.nothing  # refused
Header(frame_id=5)  # refused
from lunar.msgs import Imus  # refused

async def main(node: lunar.Node) -> None:
    publisher = node.create_publisher(Imu, "imu")
    await publisher.publish(imu)
    await publisher.publish(Twist())  # refused
    with publisher.loan(header=Header()) as loaned:
        reveal_type(loaned)
    async for received in node.create_subscription(Imu, "imu"):
        reveal_type(received)
"""
NUMPY = "class ndarray: ...\n"


def test_type_checkers_know_the_fields(tmp_path: Path) -> None:
    (tmp_path / "numpy.pyi").write_text(NUMPY)
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "snippet.py"]
    environment = {"PATH": "", "MYPYPATH": f"{tmp_path}:{ROOT}"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    refused = {number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# refused")}
    said = run.stdout.splitlines()
    errors = {int(line.split(":")[1]) for line in said if ": error: " in line}
    assert errors == refused, run.stdout + run.stderr
    revealed = [line.partition("Revealed type is ")[2].strip('"') for line in said if ": note: Revealed" in line]
    assert revealed == [
        "str | None",
        "lunar.msgs.Imu",
        "typing.Sequence[lunar.msgs.PoseStamped]",
        "numpy.ndarray",
        "lunar.msgs.Imu",
        "str | None",
        "lunar.msgs.Imu",
        "lunar.msgs.Imu",
    ], run.stdout
