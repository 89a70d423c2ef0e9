"""Finds the image files below a folder, without opening them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import printable
from nas.system.paths import exists, is_dir, is_file

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_OF_SYSTEMS = frozenset(
    {
        "$RECYCLE.BIN",
        "@eaDir",
        "System Volume Information",
        "Thumbs.db",
        "__MACOSX",
        "desktop.ini",
        "lost+found",
    }
)
"""Names that operating systems leave in folders of images; they are passed over like hidden ones,
whose names begin with a dot."""

_SHOWN_SUFFIXES = 3


@dataclass(frozen=True, order=True)
class ImageFile:
    """An image file.

    Attributes:
        path: path below the scanned folder, with forward slashes.
        real: real path, without links.
    """

    path: str
    real: str


@dataclass
class Scan:
    """What is below a folder. All paths are below that folder, with forward slashes.

    Attributes:
        images: the images, sorted by path.
        folders: the folders of the first two levels.
        others: the files that are not of an image's format.
        closed: the folders that cannot be read, with the reason.
    """

    images: list[ImageFile] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Folder:
    path: str
    real: str
    above: frozenset[str]
    """Real paths of the folder itself and of all folders on the way to it."""


def scan(root: Path) -> Scan:
    """Find the images below a folder. Links are followed, and circles of links end.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found = Scan()
    real = os.path.realpath(root)
    pending = [_Folder("", real, frozenset({real}))]
    seen: set[tuple[str, str]] = set()
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder.real) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder.path == "":
                raise
            found.closed[folder.path] = error.strerror or str(error)
            continue
        for child in children:
            if child.name.startswith(".") or child.name in _OF_SYSTEMS:
                continue
            path = f"{folder.path}/{child.name}".removeprefix("/")
            real = os.path.realpath(child.path) if child.is_symlink() else child.path
            if not _is_folder(child, real):
                _add_file(found, child, ImageFile(path, real))
            elif real not in folder.above:
                parts = path.split("/")
                if len(parts) <= 2:
                    found.folders.add(path)
                # Below one folder of the second level, folders that link to each other are
                # entered once; their number of paths grows exponentially.
                place = ("/".join(parts[:2]), real)
                if place not in seen:
                    seen.add(place)
                    pending.append(_Folder(path, real, folder.above | {real}))
    found.images.sort()
    found.others.sort()
    return found


def left_out_text(found: Scan, others: Sequence[str], strays: Sequence[str]) -> str:
    """Say what is left out of a scanned folder, with numbers and examples; empty for nothing.

    Args:
        found: the scan.
        others: those of ``found.others`` that lie where images are expected.
        strays: images that are in no class folder.
    """
    parts = []
    if others:
        suffixes = Counter(suffix_of(path) or "without suffix" for path in others)
        named = [f"{count:,} {suffix}" for suffix, count in suffixes.most_common(_SHOWN_SUFFIXES)]
        more = ", ..." if len(suffixes) > _SHOWN_SUFFIXES else ""
        kinds = ", ".join(named) + more
        parts.append(f"{_count(others, 'file')} of other formats ({kinds}; {_example(others)})")
    if found.closed:
        path, reason = min(found.closed.items())
        closed = _count(found.closed, "folder")
        parts.append(f"{closed} that cannot be read ({_example([path])}: {reason})")
    if strays:
        parts.append(f"{_count(strays, 'image')} in no class folder ({_example(strays)})")
    return printable("; ".join(parts))


def suffixes_text() -> str:
    """The formats that are read, as messages name them: ``bmp, gif, ...``."""
    return ", ".join(sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES))


def suffix_of(path: str) -> str:
    """Suffix of a file's name in lower case, with its dot; empty if there is none."""
    name = path.rpartition("/")[2]
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ""


def _count(things: Sequence[str] | dict[str, str], noun: str) -> str:
    return f"{len(things):,} {noun}{'s' if len(things) > 1 else ''}"


def _example(paths: Sequence[str]) -> str:
    return f"for example {paths[0]}"


def _is_folder(child: os.DirEntry[str], real: str) -> bool:
    return is_dir(Path(real)) if child.is_symlink() else child.is_dir(follow_symlinks=False)


def _add_file(found: Scan, child: os.DirEntry[str], file: ImageFile) -> None:
    """Add a regular file, or a link to one, to the images or to the other files.

    A broken link counts as a file: as an image, it is one that cannot be read.
    """
    if child.is_symlink():
        regular = is_file(Path(file.real)) or not exists(Path(file.real))
    else:
        regular = child.is_file(follow_symlinks=False)
    if regular and suffix_of(file.path) in IMAGE_SUFFIXES:
        found.images.append(file)
    elif regular:
        found.others.append(file.path)
