"""The C library of the cyclonedds package, loaded on first use.

Two copies of it lie in the wheel. The one that the package itself loads is taken, so that a program which uses both has
one DDS and not two.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any, Final

from cffi import FFI

from lunar.errors import LunarError, ResourceExhausted, TransportUnavailable
from lunar_dds._cdr import bind
from lunar_dds.declarations import DECLARATIONS

__all__ = ["INFINITE_NS", "NO_DATA", "TIMED_OUT", "CData", "check", "ffi", "find_library", "library"]

CData = Any

INFINITE_NS: Final = 0x7FFFFFFFFFFFFFFF
TIMED_OUT: Final = -10
NO_DATA: Final = -11
_OUT_OF_RESOURCES: Final = -5

_PER_SAMPLE: Final = (
    "dds_forwardcdr",
    "dds_takecdr",
    "ddsi_serdata_from_ser_iov",
    "ddsi_serdata_ref",
    "ddsi_serdata_size",
    "ddsi_serdata_to_ser_ref",
    "ddsi_serdata_to_ser_unref",
    "ddsi_serdata_unref",
)

_REMEDY: Final = "pip install 'lunar-mom[dds]'"

ffi: Any = FFI()
ffi.cdef(DECLARATIONS)
_lib: Any = None
_lock = threading.Lock()


def find_library() -> Path:
    """Says where the C library is.

    Raises:
        TransportUnavailable: The cyclonedds package is not installed, or brings no library along.
    """
    found = importlib.util.find_spec("cyclonedds")
    if found is None or not found.submodule_search_locations:
        raise TransportUnavailable("dds", "the package cyclonedds is not installed", _REMEDY)
    package = Path(found.submodule_search_locations[0])
    # The file says where the package's own binding has it from, and imports nothing of the package.
    spec = importlib.util.spec_from_file_location("lunar_dds._cyclonedds_library", package / "__library__.py")
    try:
        if spec is None or spec.loader is None:
            raise ImportError("its __library__.py cannot be read")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return Path(module.library_path)
    except Exception as error:
        reason = f"the package cyclonedds in {package} does not say where its library is: {error!r}"
        raise TransportUnavailable("dds", reason, _REMEDY) from error


def library() -> Any:
    """The library; loaded by the first call.

    Raises:
        TransportUnavailable: It cannot be found or loaded, or is not the one that we know.
    """
    global _lib
    if _lib is not None:
        return _lib
    with _lock:
        if _lib is None:
            path = find_library()
            try:
                loaded = ffi.dlopen(str(path))
                for name in dir(loaded):
                    getattr(loaded, name)
            except (OSError, AttributeError) as error:
                reason = f"{path} cannot be used: {error}"
                raise TransportUnavailable("dds", reason, "install cyclonedds 11") from error
            bind({name: int(ffi.cast("uintptr_t", getattr(loaded, name))) for name in _PER_SAMPLE}, check)
            _lib = loaded
        return _lib


def check(code: int, doing: str) -> int:
    """Returns what a function returned, or raises if that is an error.

    Raises:
        ResourceExhausted: The library is out of something.
        LunarError: Any other failure.
    """
    if code >= 0:
        return code
    text = f"{doing}: {ffi.string(library().dds_strretcode(code)).decode()}"
    if code == _OUT_OF_RESOURCES:
        raise ResourceExhausted(text)
    raise LunarError(text)
