"""Declares the native code; everything else about the distribution is in pyproject.toml.

Three modules come out of the C core in ``lunar/_native``:

* ``lunar._native._bus``, a CPython extension: what happens once per message;
* ``lunar._native._codec``, another: FlatBuffers, written in place and read without a copy;
* ``lunar._native._control``, through cffi in API mode: everything else.

Three more belong to transports: ``lunar_dds._cdr``, what is done once per sample, ``lunar_zmq._frames``, which hands
frames to libzmq, and ``lunar_xdp._xdp``, the protocol and the ports of the accelerated path.

Environment variables read by a build:

* ``LUNAR_ABI3``: ``1`` (default) builds against the limited API of CPython 3.11, so that one wheel serves 3.11 and
  later; ``0`` builds for the running interpreter only.
* ``LUNAR_WERROR``: ``1`` turns compiler warnings into errors. Off by default: a user's newer compiler may know warnings
  that ours does not.
* ``LUNAR_SANITIZE``: ``address,undefined`` or ``thread``, passed to ``-fsanitize``.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("lunar/_native")
DDS, XDP, ZMQ = (Path("transports") / name / "native" for name in ("dds", "xdp", "zmq"))
INCLUDE_DIRS = [str(NATIVE / "core"), str(NATIVE / "bus"), str(NATIVE / "codec")]
CONTROL_BUILDER = NATIVE / "build_control.py"

ABI3 = os.environ.get("LUNAR_ABI3", "1") != "0"
WERROR = os.environ.get("LUNAR_WERROR", "0") == "1"
SANITIZE = os.environ.get("LUNAR_SANITIZE", "")


def compile_args() -> list[str]:
    """Return the compiler flags that every native module shares."""
    args = ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-Wall", "-Wextra"]
    if WERROR:
        args.append("-Werror")
    if SANITIZE:
        # No recovery: a finding must end the process, or a test would pass over it. The core's own asserts are on too.
        args += [
            "-O1",
            "-g",
            "-UNDEBUG",
            "-fno-omit-frame-pointer",
            "-fno-sanitize-recover=all",
            f"-fsanitize={SANITIZE}",
        ]
    else:
        args.append("-O3")
    return args


class BuildNative(build_ext):
    """Gives hand-written and cffi-generated modules the same flags, include paths and header dependencies."""

    def build_extension(self, ext: Extension) -> None:
        """Build one module; a changed header rebuilds it."""
        ext.extra_compile_args = [*compile_args(), *ext.extra_compile_args]
        ext.include_dirs = [*INCLUDE_DIRS, *ext.include_dirs]
        ext.depends = [*ext.depends, *sorted(map(str, (*NATIVE.glob("*/*.h"), *DDS.glob("*.h"), *XDP.glob("*/*.h"))))]
        if SANITIZE:
            ext.extra_link_args = [*ext.extra_link_args, f"-fsanitize={SANITIZE}"]
        if ext.name.endswith("._control"):
            # cffi's generated wrappers trip over these two, the sources that we wrote do not.
            ext.extra_compile_args += ["-Wno-unused-parameter", "-Wno-missing-field-initializers"]
        super().build_extension(ext)

    def copy_extensions_to_source(self) -> None:
        """Install into the source tree, and take away what a build with the other ``LUNAR_ABI3`` left: it would win."""
        super().copy_extensions_to_source()
        for ext in self.extensions:
            built = Path(self.get_ext_filename(self.get_ext_fullname(ext.name)))
            for found in built.parent.glob(f"{ext.name.rsplit('.', 1)[1]}.*.so"):
                if found.name != built.name:
                    found.unlink()


def extensions() -> list[Extension]:
    """Return the CPython extensions."""
    macros: list[tuple[str, str | None]] = [("Py_LIMITED_API", "0x030B0000")] if ABI3 else []
    folders = {"_bus": ("bus", "core"), "_codec": ("codec",)}
    sources = {
        f"lunar._native.{name}": [source for folder in those for source in sorted(NATIVE.glob(f"{folder}/*.c"))]
        for name, those in folders.items()
    }
    sources["lunar_dds._cdr"] = sorted(DDS.glob("*.c"))
    sources["lunar_xdp._xdp"] = sorted(XDP.glob("*/*.c"))
    sources["lunar_zmq._frames"] = sorted(ZMQ.glob("*.c"))
    return [
        Extension(name, list(map(str, paths)), define_macros=macros, py_limited_api=ABI3)
        for name, paths in sources.items()
    ]


setup(
    ext_modules=extensions(),
    cffi_modules=[f"{CONTROL_BUILDER}:ffibuilder"] if CONTROL_BUILDER.exists() else [],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
