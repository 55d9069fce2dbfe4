import pytest

from lunar.abc import Capabilities, Probe, Transport


def test_promises_nothing_that_is_not_stated() -> None:
    assert Capabilities(reach="host") == Capabilities(
        reach="host",
        zero_copy=False,
        reliable=False,
        multicast=False,
        largest_message_bytes=None,
        time_triggered=False,
        encrypted=False,
        kernel_bypass=False,
    )


@pytest.mark.parametrize("missing", ["name", "capabilities", "probe"])
def test_a_transport_that_does_not_say_what_it_is_cannot_be_made(missing: str) -> None:
    complete = {name: property(lambda _: None) for name in Transport.__abstractmethods__}
    type("Complete", (Transport,), complete)()
    incomplete = type("Incomplete", (Transport,), {name: complete[name] for name in complete if name != missing})
    with pytest.raises(TypeError, match=missing):
        incomplete()


@pytest.mark.parametrize(
    ("ok", "reason", "remedy"),
    [(True, "x", ""), (True, "", "x"), (True, "x", "x"), (False, "", ""), (False, "x", ""), (False, "", "x")],
)
def test_a_probe_explains_itself_exactly_if_it_fails(ok: bool, reason: str, remedy: str) -> None:
    with pytest.raises(ValueError, match="a reason and a remedy exactly if it is not ok"):
        Probe(ok, reason, remedy)


def test_a_probe_that_is_complete() -> None:
    assert Probe(ok=True) == Probe(True, "", "")
    assert Probe(False, "x", "y").reason == "x"
