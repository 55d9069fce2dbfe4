"""Other programs of the domain that write nonsense where engines and bulletins read."""

from pathlib import Path

import pytest
from lunar_dds import frames

from lunar import testing

HERE = Path(__file__).parent
A, B, P = "0a" * 16, "0b" * 16, "f1" * 16


def headers() -> list[str]:
    return [
        frames.head(kind, bytes.fromhex(P), session=session, sequence=sequence)[:56].hex()
        for kind in range(frames.SHARED, frames.CLOSE + 1)
        for session in (0, 1)
        for sequence in (0, 3, 2**64 - 1)
    ]


@pytest.mark.hostile
@pytest.mark.parametrize("identity", ["", A, "0c" * 16, "\u00e9" * 16])
def test_nonsense_is_counted_and_harms_nobody(domain: int, identity: str) -> None:
    with (
        testing.Child(HERE / "engine_child.py", A, str(domain)) as a,
        testing.Child(HERE / "engine_child.py", B, str(domain)) as b,
        testing.Child(HERE / "garbage_child.py", str(domain)) as stranger,
    ):
        a.call("open_outgoing", publisher=P, remote=B)
        b.call("open_incoming", publisher=P, remote=A)
        a.call("until", check="s.log", publisher=P, remote=B)
        for topic in ("lunar/reliable/chatter", f"lunar/control/{A}", f"lunar/control/{B}"):
            stranger.call("write", topic=topic, identity=identity, headers=headers(), count=150, seed=7)
        assert b.call("until", check="True", publisher=P, remote=A)
        assert b.call("faulty") or a.call("faulty")
        if identity != A:  # who passes itself off as the publisher's process is believed: DDS is not secured
            a.call("send", publisher=P, remotes=[B], first=1, sizes=[100] * 20)
            got = b.call("until", check="len(r.got) >= 20", publisher=P, remote=A)
            assert isinstance(got, dict)
            assert [each[0] for each in got["got"]] == list(range(1, 21))
            assert got["wrong"] == 0
        assert a.close() == b.close() == 0
