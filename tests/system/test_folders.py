"""Where files are, for every kind of user and installation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.errors import ConfigError
from nas.system import folders


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as if it were installed: its folder."""
    package = tmp_path / "site-packages" / "nas"
    monkeypatch.setattr(folders, "_PACKAGE", package)
    return package


def test_the_cache_follows_the_platform(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert folders.user_cache() == Path("/somewhere/nextvit-nas")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folders.user_cache() == Path.home() / ".cache" / "nextvit-nas"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert folders.user_cache() == Path.home() / "Library" / "Caches" / "nextvit-nas"


def test_a_checkout_comes_before_the_users_own_tables(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    root = Path(__file__).resolve().parents[2]
    own = tmp_path / "nextvit-nas" / "latency_tables"
    assert folders.tables() == (root / "latency_tables", own)
    assert folders.new_tables() == root / "latency_tables"
    assert folders.command() == "python run_search.py"


def test_an_installed_package_keeps_new_tables_in_the_users_folder(
    installed, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own = tmp_path / "nextvit-nas" / "latency_tables"
    assert folders.tables() == (own, installed / "_shipped" / "latency_tables")
    assert folders.new_tables() == own
    assert folders.spaces() == installed / "_shipped" / "search_spaces"
    assert folders.command() == "python -m nas"
    assert not folders.results().is_absolute()


def test_a_relative_folder_in_the_environment_is_ignored(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert folders.user_data() == Path.home() / ".local" / "share" / "nextvit-nas"


def test_a_user_without_a_home_reads_what_is_shipped(installed, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert folders.tables() == (folders.shipped_tables(),)
    with pytest.raises(ConfigError, match="no home folder for data: set XDG_DATA_HOME to"):
        folders.new_tables()
