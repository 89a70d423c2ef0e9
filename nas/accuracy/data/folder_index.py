"""Finds classes and splits in a folder of images.

The folder holds a folder for every class, or a folder for every split with the class folders
inside. `SPLIT_NAMES` are the names of folders of splits. What could be read in two ways is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.accuracy.data.folder_scan import ImageFile, Scan, left_out_text, scan, suffixes_text
from nas.errors import DataError, printable

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""The split that a folder of this name, in lower case, holds."""

SPLIT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Share of each class's images in a split, if the folder is not divided into splits."""

MIN_IMAGES = 20
"""Least number of images of a split. With 20, one image is worth 5 points of accuracy."""

_Layout = dict[str, dict[str, list[ImageFile]]]
"""The images of each class, by split; undivided images are all in ``train``."""


@dataclass(frozen=True)
class FolderIndex:
    """The images of a folder, by their paths; they have not been opened.

    Attributes:
        root: the folder.
        class_names: names of the classes, sorted; the same in every split.
        splits: the images of ``train``, ``val`` and ``test`` as (path below root with forward
            slashes, class index), sorted by path. No file is there twice.
        left_out: what is in the folder and not used, with numbers and examples; empty for nothing.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[tuple[str, int], ...]]
    left_out: str = ""


def index_folder(root: Path) -> FolderIndex:
    """Find the images of a folder, and divide them into splits.

    A split without a folder of its own is taken from the images in ``train``, or from all images if
    no folder is a split. A hash of the images' paths selects its images in each class, so the split
    is the same on every machine and in every run.

    Raises:
        DataError: the folder cannot be read, its layout is wrong or ambiguous, or a split is too
            small.
    """
    shown = printable(str(root))
    try:
        if not root.exists():
            raise DataError(f"data folder {shown} does not exist")
        if not root.is_dir():
            raise DataError(f"data folder {shown} is a file, not a folder")
        found = scan(root)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"data folder {shown} cannot be read: {reason}") from None
    layout = _layout(root, found)
    names = list(layout["train"])
    for split, classes in layout.items():
        _check_same_classes(shown, split, list(classes), names)
    if len(names) < 2:
        raise DataError(
            f"data folder {shown} has one class only, {names[0]!r}: put the images of every "
            f"class in a folder of its own"
        )
    index = FolderIndex(root, tuple(names), _splits(shown, layout), _left_out(found, layout))
    check_sizes(index)
    return index


def check_sizes(index: FolderIndex, what: str = "images") -> None:
    """Refuse an index with a split that is too small, or that lacks a class.

    Args:
        index: the images.
        what: name of the images in the message.

    Raises:
        DataError: names the split, its number of images and the number it needs.
    """
    root = printable(str(index.root))
    for split, images in index.splits.items():
        if len(images) < MIN_IMAGES:
            raise DataError(
                f"data folder {root}: the {split} split has {len(images)} {what}, at "
                f"least {MIN_IMAGES} are needed; add images"
            )
        present = {label for _, label in images}
        for label, name in enumerate(index.class_names):
            if label not in present:
                raise DataError(
                    f"data folder {root}: the {split} split has no image of class "
                    f"{name!r}; add images of it"
                )


def _layout(root: Path, found: Scan) -> _Layout:
    """Sort the images into splits and classes; see `SPLIT_NAMES`.

    If all folders of images are named like splits, they are splits, else they are classes.

    Raises:
        DataError: neither fits.
    """
    tops = sorted(folder for folder in found.folders if "/" not in folder)
    used = {image.path.partition("/")[0] for image in found.images if "/" in image.path}
    named = [top for top in tops if top.lower() in SPLIT_NAMES]
    others = [top for top in tops if top in used and top not in named]
    if named and not others:
        return {
            split: _classes(root, found, top) for split, top in _named_splits(root, named).items()
        }
    nested = {image.path.partition("/")[0] for image in found.images if image.path.count("/") > 1}
    like_splits = [top for top in named if top in nested]
    if like_splits:
        raise DataError(
            f"{_folder(root)} has {printable(like_splits[0])}, which looks like a split, and "
            f"beside it {printable(others[0])} with images: move what is not a split out of the "
            f"data folder, or, where it holds a folder per class, rename "
            f"{printable(like_splits[0])}"
        )
    return {"train": _classes(root, found, "")}


def _named_splits(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The folder of each split that has one.

    Raises:
        DataError: two folders are named like one split, or none like ``train``.
    """
    folders: dict[str, str] = {}
    for name in names:
        other = folders.setdefault(SPLIT_NAMES[name.lower()], name)
        if other != name:
            raise DataError(
                f"{_folder(root)} has two folders of the {SPLIT_NAMES[name.lower()]} split, "
                f"{other} and {name}: move one of them out of it"
            )
    if "train" not in folders:
        raise DataError(
            f"{_folder(root)} has {' and '.join(names)} but no train folder: add it, or rename "
            f"the folders if they are classes"
        )
    return {split: folders[split] for split in SPLITS if split in folders}


def _classes(root: Path, found: Scan, top: str) -> dict[str, list[ImageFile]]:
    """The images in each class folder of the data folder, or of the split ``top`` in it.

    Raises:
        DataError: there are no class folders, or one has no images.
    """
    if top in found.closed:
        raise DataError(f"{_folder(root / top)} cannot be read: {found.closed[top]}")
    prefix = f"{top}/" if top else ""
    depth = prefix.count("/")
    classes: dict[str, list[ImageFile]] = {
        folder.removeprefix(prefix): []
        for folder in sorted(found.folders)
        if folder.startswith(prefix) and folder.count("/") == depth
    }
    flat = False
    for image in found.images:
        if image.path.startswith(prefix):
            name, inside, _ = image.path.removeprefix(prefix).partition("/")
            if inside:
                classes[name].append(image)
            flat |= not inside
    if not any(classes.values()) and (flat or not classes):
        raise DataError(_no_classes(root, top, flat))
    for name, images in classes.items():
        if not images:
            folder = printable(str(root / top / name))
            reason = found.closed.get(f"{prefix}{name}")
            if reason:
                raise DataError(f"class folder {folder} cannot be read: {reason}")
            raise DataError(f"class folder {folder} has no images ({suffixes_text()})")
    return classes


def _no_classes(root: Path, top: str, flat: bool) -> str:
    what = "images but no class folders" if flat else "no class folders"
    remedy = "put the images of every class in a folder of its own"
    if top and SPLIT_NAMES[top.lower()] != "train":
        remedy = (
            "sort its images into class folders like those of the train split, or move it out of "
            "the data folder, and the split is taken from the images of train"
        )
    return f"{_folder(root / top)} has {what}: {remedy}"


def _splits(shown: str, layout: _Layout) -> dict[str, tuple[tuple[str, int], ...]]:
    """Each split's images with their labels; splits without a folder are taken from ``train``."""
    missing = [split for split in SPLITS if split not in layout]
    splits: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    places: dict[str, tuple[str, str, str]] = {}
    for label, name in enumerate(layout["train"]):
        own = {
            split: _once(shown, places, split, name, classes[name])
            for split, classes in layout.items()
        }
        for split, paths in (own | _divide(own["train"], missing)).items():
            splits[split] += [(path, label) for path in paths]
    return {split: tuple(sorted(images)) for split, images in splits.items()}


def _once(
    shown: str,
    places: dict[str, tuple[str, str, str]],
    split: str,
    name: str,
    images: Sequence[ImageFile],
) -> list[str]:
    """Paths of a class's images in a split, without further links to files that are there.

    Args:
        shown: the data folder as messages name it.
        places: split, class and path of the files so far, by real path; those found are added.
        split, name, images: the split, the class and its images.

    Raises:
        DataError: a file is in two splits or classes.
    """
    paths = []
    for image in images:
        place = places.setdefault(image.real, (split, name, image.path))
        if place == (split, name, image.path):
            paths.append(image.path)
        elif place[:2] != (split, name):
            two = "splits" if place[0] != split else "classes"
            raise DataError(
                f"data folder {shown}: {printable(place[2])} and {printable(image.path)} are the "
                f"same file, in two {two}: remove one of these links"
            )
    return paths


def _left_out(found: Scan, layout: _Layout) -> str:
    """Say what is left out; files beside the class folders are not told unless they are images."""
    sorted_in = [images for classes in layout.values() for images in classes.values()]
    used = {image.path for images in sorted_in for image in images}
    strays = [image.path for image in found.images if image.path not in used]
    tops = {path.partition("/")[0] for path in used}
    others = [path for path in found.others if "/" in path and path.partition("/")[0] in tops]
    return left_out_text(found, others, strays)


def _check_same_classes(shown: str, split: str, names: list[str], expected: list[str]) -> None:
    if names == expected:
        return
    extra, lacking = sorted(set(names) - set(expected)), sorted(set(expected) - set(names))
    parts = [f"has class {extra[0]!r}, which train lacks"] if extra else []
    parts += [f"lacks class {lacking[0]!r}, which train has"] if lacking else []
    raise DataError(f"data folder {shown}: {split} {' and '.join(parts)}")


def _divide(paths: list[str], missing: list[str]) -> dict[str, list[str]]:
    """Give each missing split its share of a class's images, and the rest to ``train``."""
    ordered = sorted(paths, key=lambda path: hashlib.sha256(os.fsencode(path)).digest())
    divided = {}
    for split in missing:
        count = max(1, round(SPLIT_SHARES[split] * len(paths)))
        divided[split], ordered = ordered[:count], ordered[count:]
    divided["train"] = ordered
    return divided


def _folder(path: Path) -> str:
    return f"data folder {printable(str(path))}"
