"""The standard messages, named and shaped after ROS 2's common interfaces; the schemas are in idl/.

`from lunar.msgs import Image, Imu, Twist`. Each class is made when it is first asked for. `standard.bfbs` and the stub
beside this file are generated from idl/ by `make idl`.
"""

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lunar.messages.loading import Interfaces


@cache
def _interfaces() -> "Interfaces":
    from lunar.messages.loading import load_compiled

    return load_compiled(resources.files(__name__).joinpath("standard.bfbs").read_bytes(), __name__)


def __getattr__(name: str) -> type:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: type = getattr(_interfaces(), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(name.rpartition(".")[2] for name in _interfaces())
