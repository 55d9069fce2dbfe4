"""The surroundings that `isolated` gives: apart from everybody, and gone afterwards."""

import os

import pytest

import lunar
from lunar.testing import isolated


def test_the_block_has_a_directory_of_its_own_that_is_removed_with_its_content() -> None:
    with isolated() as directory:
        assert os.environ["LUNAR_RUNTIME_DIR"] == str(directory)
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "left_behind").touch()
    assert not directory.exists()


def test_two_blocks_do_not_see_each_other() -> None:
    with isolated(), lunar.Node("inner"), isolated():
        assert lunar.graph_snapshot().nodes == ()


def test_the_settings_of_outside_do_not_reach_into_the_block_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_DOMAIN", "9")
    monkeypatch.setenv("LUNAR_POOL_BYTES", "1M")
    with isolated(LUNAR_DOMAIN="7"):
        assert os.environ["LUNAR_DOMAIN"] == "7"
        assert "LUNAR_POOL_BYTES" not in os.environ
    assert (os.environ["LUNAR_DOMAIN"], os.environ["LUNAR_POOL_BYTES"]) == ("9", "1M")


def test_they_come_back_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_DOMAIN", "9")
    with pytest.raises(KeyError, match="inside"), isolated(LUNAR_DOMAIN="7") as directory:
        raise KeyError("inside")
    assert os.environ["LUNAR_DOMAIN"] == "9"
    assert not directory.exists()


def test_a_variable_that_is_no_setting_of_lunar_is_refused() -> None:
    with pytest.raises(ValueError, match="PATH is no setting of Lunar"), isolated(PATH="/"):
        pass
