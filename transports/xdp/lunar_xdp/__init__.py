"""The accelerated transport, `xdp`: one protocol between hosts over AF_XDP, and over plain UDP where that cannot be.

`settings` (what is configured and announced) and `tokens` (the secrets of a stream) are pure. `netlink` is the kernel's
format and its socket; `links`, `paths` and `watching` say by it where datagrams leave and when that changes, without
blocking. `requirements` says what AF_XDP lacks here, and what to do about it.
"""
