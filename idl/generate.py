"""Writes what lunar.msgs is made of from the schemas beside this file: ``python idl/generate.py [FOLDER]``."""

import sys
from pathlib import Path

from lunar.messages.bfbs import read_schema
from lunar.messages.flatc import compile_schema
from lunar.messages.stubs import stub_text

IDL = Path(__file__).resolve().parent
TITLE = "The standard messages, named and shaped after ROS 2's common interfaces."


def generate(folder: Path) -> None:
    """Write the compiled schema and the type stub into a folder."""
    compiled = compile_schema(IDL / "all.fbs")
    (folder / "standard.bfbs").write_bytes(compiled)
    (folder / "__init__.pyi").write_text(stub_text(read_schema(compiled), TITLE), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if sys.argv[1:] else IDL.parent / "lunar" / "msgs")
