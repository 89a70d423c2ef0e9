"""Folders of files: of the package, of the user, and of runs.

In a checkout, search spaces, presets and tables are in folders at the repository's top level. An
installed package carries copies of them in ``nas/_shipped``, which are only read: a user's own
tables are in the data folder of that user. Folders are determined at each call, from the
current environment and working directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nas.errors import ConfigError
from nas.system.paths import is_dir, is_file

_PACKAGE = Path(__file__).resolve().parents[1]
_NAME = "nextvit-nas"
"""Name of this project's folder in the user's data and cache folders."""


def checkout() -> Path | None:
    """The repository that this package is imported from; None if the package is installed."""
    root = _PACKAGE.parent
    return root if is_file(root / "run_search.py") and is_dir(root / "search_spaces") else None


def command() -> str:
    """The command that starts this program, for messages that name a command."""
    return "python run_search.py" if checkout() else "python -m nas"


def spaces() -> Path:
    """Folder of the search spaces that come with the project."""
    return _shipped("search_spaces")


def presets() -> Path:
    """Folder of the architectures that come with the project."""
    return spaces() / "presets"


def shipped_tables() -> Path:
    """Folder of the latency tables that come with the project."""
    return _shipped("latency_tables")


def tables() -> tuple[Path, ...]:
    """Folders of latency tables, in search order: the first table with a given name is used."""
    try:
        own: tuple[Path, ...] = (user_data() / "latency_tables",)
    except ConfigError:  # this user has no folder, and so no tables
        own = ()
    shipped = shipped_tables()
    return (shipped, *own) if checkout() else (*own, shipped)


def new_tables() -> Path:
    """Folder to which new latency tables go: in a checkout, else in the user's data folder.

    Raises:
        ConfigError: the user has no folder for data; says what to set.
    """
    return shipped_tables() if checkout() else user_data() / "latency_tables"


def results() -> Path:
    """Folder to which new runs go: ``results/`` of the current folder."""
    return Path("results")


def user_data() -> Path:
    """The project's folder for the user's data, such as latency tables.

    Raises:
        ConfigError: the user has no home folder, and the environment names no other.
    """
    return _user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support", "data")


def user_cache() -> Path:
    """The project's folder for files of the user that can be made again.

    Raises:
        ConfigError: the user has no home folder, and the environment names no other.
    """
    return _user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches", "the cache")


def _user_folder(variable: str, linux: str, macos: str, what: str) -> Path:
    """Return this project's folder below one of the user's base folders (XDG specification).

    The base folder is the one that ``variable`` names. If it is not set, the default of the
    operating system is used.

    Args:
        variable: environment variable, such as ``XDG_DATA_HOME``.
        linux: default base folder on Linux, relative to the home folder.
        macos: default base folder on macOS, relative to the home folder.
        what: purpose of the folder, for the message.

    Raises:
        ConfigError: the user has no home folder, and the environment names no other.
    """
    given = os.environ.get(variable)
    if given and Path(given).is_absolute():  # the specification ignores relative paths
        return Path(given) / _NAME
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / _NAME
    below = {"win32": "AppData/Local", "darwin": macos}.get(sys.platform, linux)
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users
        raise ConfigError(
            f"this user has no home folder for {what}: set {variable} to a folder that can be "
            f"written"
        ) from None
    return home / below / _NAME


def _shipped(name: str) -> Path:
    return (checkout() or _PACKAGE / "_shipped") / name
