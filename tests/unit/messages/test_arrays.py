"""Arrays as the user sees them, with NumPy and without."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lunar.messages.arrays import array_maker
from lunar.messages.schema import Scalar
from tests.unit.messages.forms import FBS


@pytest.mark.parametrize("scalar", [*Scalar], ids=lambda scalar: scalar.fbs_name)
def test_an_array_has_the_dtype_of_its_scalar_and_shares_memory(scalar: Scalar) -> None:
    source = np.arange(6).astype(scalar.fbs_name)
    buffer = bytearray(source.tobytes())
    array = array_maker(scalar, ())(buffer)
    assert isinstance(array, np.ndarray)
    assert array.dtype == source.dtype
    assert (array == source).all()
    array[0] = 1
    assert bytes(buffer[: source.itemsize]) == np.array([1], source.dtype).tobytes()
    read_only = array_maker(scalar, ())(bytes(buffer))
    assert isinstance(read_only, np.ndarray)
    assert not read_only.flags.writeable


@pytest.mark.parametrize(
    ("shape", "count", "seen"),
    [
        ((), 6, (6,)),
        ((), 0, (0,)),
        ((6,), 6, (6,)),
        ((2, 3), 6, (2, 3)),
        ((None, 3), 6, (2, 3)),
        ((None, 3), 0, (0, 3)),
        ((None, 2, 3), 12, (2, 2, 3)),
        ((2, 1, 3), 6, (2, 1, 3)),
    ],
)
def test_an_array_has_the_shape_of_its_field(shape: tuple[int | None, ...], count: int, seen: tuple[int, ...]) -> None:
    make = array_maker(Scalar.INT16, shape)
    array = make(bytes(2 * count))
    assert isinstance(array, np.ndarray)
    assert array.shape == seen
    assert make(array) is array
    again = make(np.zeros(count, np.int16))
    assert isinstance(again, np.ndarray)
    assert again.shape == seen


def test_an_array_of_other_axes_is_seen_as_those_of_the_field() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    flat = array_maker(Scalar.UINT8, ())(array)
    assert isinstance(flat, np.ndarray)
    assert flat.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.shares_memory(flat, array)


WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
import lunar
from pathlib import Path
from lunar.messages import decode, encode, from_dict, to_dict

@lunar.message
class M:
    ticks: lunar.Array[lunar.int32]
    grid: lunar.Array[lunar.float32, None, 3]
    turn: lunar.Array[lunar.float64, 2, 2]
    raw: bytes

@lunar.message(struct=True)
class S:
    cells: lunar.Array[lunar.int16, 2, 3]
    row: lunar.Array[lunar.uint8, 4]

message = M(ticks=[1, 2, 3], grid=[[1, 2, 3], [4, 5, 6]], turn=[1, 2, 3, 4], raw=b"ab")
data = encode(message)
view = decode(M, data)
for each in (message, view, view.copy()):
    for array in (each.ticks, each.grid, each.turn, each.raw):
        assert type(array) is memoryview, array
    assert each.ticks.tolist() == [1, 2, 3]
    assert (each.ticks.format, each.ticks.itemsize) == ("i", 4)
    assert each.grid.shape == (2, 3)
    assert each.grid.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert each.turn[1, 0] == 3
    assert each.raw == b"ab"
    assert each == message
    assert to_dict(each) == {"ticks": [1, 2, 3], "grid": [1, 2, 3, 4, 5, 6], "turn": [1, 2, 3, 4], "raw": [97, 98]}
    assert from_dict(M, to_dict(each)) == message
    shown = repr(each)
    assert shown == (
        "M(ticks=[1, 2, 3], grid=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], turn=[[1.0, 2.0], [3.0, 4.0]], raw=[97, 98])"
    ), shown
assert repr(M(raw=bytes(100))).endswith("raw=[0, 0, 0, 0, 0, 0, ... 100 in all])")
assert repr(M(grid=[1] * 30)).count("[1.0, 1.0, 1.0]") == 6
assert view.ticks.readonly
try:
    view.ticks[0] = 1
except TypeError:
    pass
else:
    raise AssertionError("a received array was written to")
kept = view.copy()
kept.ticks[0] = 9
kept.grid[1, 2] = 9
assert decode(M, encode(kept)).ticks[0] == 9 == decode(M, encode(kept)).grid[1, 2]
empty = decode(M, encode(M()))
assert [len(each) for each in (empty.ticks, empty.raw)] == [0, 0]
assert empty.turn is None
assert empty.grid.nbytes == 0
assert M(grid=[]) == M()

struct = S([[1, 2, 3], [4, 5, 6]], b"abcd")
assert struct.cells.tolist() == [[1, 2, 3], [4, 5, 6]]
struct.cells[0, 0] = 7
assert decode(S, encode(struct)).cells[0, 0] == 7

import array
assert M(ticks=array.array("i", [5])).ticks.tolist() == [5]
try:
    M(ticks=array.array("h", [5]))
except lunar.FieldError as error:
    assert str(error).startswith("M.ticks: expected a sequence of int32"), error
else:
    raise AssertionError("int16 was taken for int32")

loaded = lunar.messages.load(Path(sys.argv[1]))
wheel = loaded.Wheel(ticks=[1], weights=[0.5], pose=loaded.Pose(spread=[1, 2, 3]))
view = decode(loaded.Wheel, encode(wheel))
assert type(view.ticks) is memoryview
assert view.pose.spread.tolist() == [1, 2, 3]
assert "numpy" not in [name for name, module in sys.modules.items() if module]
print("done")
"""


def test_without_numpy_arrays_are_memoryviews(tmp_path: Path) -> None:
    schema = tmp_path / "bench.fbs"
    schema.write_text(FBS)
    command = [sys.executable, "-W", "error", "-c", WITHOUT_NUMPY, str(schema)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("done\n", "")


def test_numpy_is_imported_for_the_first_array_and_not_before() -> None:
    code = """
import sys, lunar
from lunar.messages import decode, encode
from lunar.msgs import LaserScan
view = decode(LaserScan, encode(LaserScan(ranges=[1.0])))
assert view.angle_min == 0
assert "numpy" not in sys.modules
assert view.ranges.tolist() == [1.0]
assert "numpy" in sys.modules
print("done")
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("done\n", "")
