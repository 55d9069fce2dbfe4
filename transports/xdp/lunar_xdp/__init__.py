"""The accelerated transport, `xdp`: one protocol between hosts over AF_XDP, and over plain UDP where that cannot be.

`settings` (what is configured and announced) is pure; `paths` asks the kernel where frames go; `engine` joins them with
the native part, `_xdp`: the protocol, and the ports that it goes by.
"""

from lunar_xdp.transport import Transport

__all__ = ["Transport"]
