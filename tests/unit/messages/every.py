"""One schema with everything that the FlatBuffers language has, its classes, and a full message of it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lunar.messages.loading import Interfaces, load

EVERY = """
namespace every;

enum Colour : ubyte { None, Red, Green, Blue = 7 }
enum Mode : uint (bit_flags) { Fast, Quiet, Safe }

struct Pair { a:byte; b:double; }
struct Wide (force_align: 16) { x:float; y:float; grid:[int:6]; pairs:[Pair:2]; colour:Colour; on:bool; }

table Leaf { name:string (required); size:long; }
table Other { value:double = 1.5; leaf:Leaf; text:string; }
union Any { Leaf, Other, Pair, Text:string, Tree }
table Tree { value:int; child:Tree; children:[Tree]; other:Any; others:[Any]; }

table Every {
  flag:bool = true;
  i8:byte; u8:ubyte; i16:short; u16:ushort; i32:int = -3; u32:uint; i64:long; u64:ulong;
  f32:float = 0.5; f64:double;
  maybe:int = null;
  maybe_colour:Colour = null;
  old:int (deprecated);
  colour:Colour = Green;
  mode:Mode;
  name:string (required);
  text:string;
  bytes:[ubyte]; bools:[bool]; doubles:[double]; colours:[Colour];
  names:[string];
  pair:Pair; pairs:[Pair];
  wide:Wide; wides:[Wide];
  leaf:Leaf; leaves:[Leaf];
  one:Any; many:[Any];
  nested:[ubyte] (nested_flatbuffer: "Leaf");
  tree:Tree;
}

root_type Every;
file_identifier "EVRY";
"""


@cache
def every() -> Interfaces:
    """The classes of the schema."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "every.fbs")
        path.write_text(EVERY)
        return load(path)


def full_message() -> Any:
    """A message in which every field is set, and each to something of its own."""
    e: Any = every()
    leaf = e.Leaf(name="leaf", size=5)
    wide = e.Wide(
        x=1.5, y=2.5, grid=[1, 2, 3, 4, 5, 6], pairs=[e.Pair(a=1, b=2.0), e.Pair(a=3, b=4.0)], colour=7, on=True
    )
    tree = e.Tree(value=1, child=e.Tree(value=2, children=[e.Tree(value=3, other=leaf), e.Tree(others=["x", leaf])]))
    return e.Every(
        flag=False, i8=-1, u8=2, i16=-3, u16=4, i32=-5, u32=6, i64=-7, u64=8, f32=9.5, f64=10.25,
        maybe=11, maybe_colour=7, colour=1, mode=5, name="näme", text="text",
        bytes=b"bytes", bools=[True, False], doubles=[1.0, 2.0], colours=[1, 2, 7], names=["a", "", "ünï"],
        pair=e.Pair(a=-1, b=0.5), pairs=[e.Pair(a=i, b=i / 2) for i in range(3)], wide=wide, wides=[wide, wide],
        leaf=leaf, leaves=[leaf, e.Leaf(name="other", size=6)],
        one=e.Other(value=2.5, leaf=leaf), many=[leaf, "text", e.Pair(a=9, b=9.0), e.Other(text="t"), tree],
        nested=b"\0\0\0\0", tree=tree,
    )  # fmt: skip
