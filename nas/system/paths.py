"""Functions that tell what a path is; they return False for a path that cannot be examined.

In Python 3.11 the methods of `pathlib` raise an error if a folder is not accessible or a name is
too long.
"""

from __future__ import annotations

import os
from pathlib import Path


def exists(path: Path) -> bool:
    """Whether a path exists, as far as this user can see."""
    return os.path.exists(path)  # noqa: PTH110


def is_dir(path: Path) -> bool:
    """Whether a path is a folder, as far as this user can see."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Whether a path is a file, as far as this user can see."""
    return os.path.isfile(path)  # noqa: PTH113


def nearest_existing(path: Path) -> Path:
    """The path itself if it exists, else the nearest folder above it that exists."""
    path = path.absolute()
    while not exists(path) and path != path.parent:
        path = path.parent
    return path


def is_writable(folder: Path) -> bool:
    """Whether this user can make files in an existing folder."""
    return is_dir(folder) and os.access(folder, os.W_OK | os.X_OK)
