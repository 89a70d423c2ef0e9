"""Parses and checks a data source of proxy training, without torch.

A source is ``digits`` or ``imagefolder:PATH``. PATH holds a folder for every class, or the folders
``train``, ``val`` and ``test`` with the class folders inside.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nas.config import ProxyConfig
from nas.errors import DataError, unknown

SPLITS = ("train", "val", "test")
SPLIT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Share of each class's images in a split, if the folder is not divided into splits."""

MIN_IMAGES = 20
"""Least number of images of a split. With 20, one image is worth 5 points of accuracy."""

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_PREFIX = "imagefolder:"
_KNOWN = ("digits", "imagefolder:PATH")


@dataclass(frozen=True)
class FolderIndex:
    """The images of a folder, by their paths; they have not been opened.

    Attributes:
        root: the folder.
        class_names: names of the classes, sorted; the same in every split.
        splits: the images of ``train``, ``val`` and ``test`` as (path below root with forward
            slashes, class index), sorted by path.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[tuple[str, int], ...]]


def parse_source(source: str) -> Path | None:
    """The folder of an ``imagefolder:PATH`` source; None for ``digits``.

    Raises:
        DataError: unknown source, or no path given.
    """
    if source == "digits":
        return None
    if not source.startswith(_PREFIX):
        message = unknown("data source", source, _KNOWN)
        if Path(source).expanduser().is_dir():
            message += f"; for the folder write {_PREFIX}{source}"
        raise DataError(message)
    path = source.removeprefix(_PREFIX)
    if not path.strip():
        raise DataError(f"data source {source!r} has no path: write imagefolder:PATH")
    return Path(path).expanduser()


def check_source(config: ProxyConfig) -> None:
    """Refuse a source that is not suitable for training, without opening an image.

    Raises:
        DataError: the source is unknown, the folder is missing or empty, there is only one class,
            or a split is too small.
    """
    folder = parse_source(config.data)
    if folder is None:
        return
    images = len(index_folder(folder).splits["train"])
    if images < config.batch_size:
        raise DataError(
            f"data folder {folder}: the train split has {images} images, a batch of proxy "
            f"training takes {config.batch_size}; add images"
        )


def absolute_source(source: str) -> str:
    """Return the source with an absolute path, so that it is valid in any working directory."""
    folder = parse_source(source)
    return source if folder is None else f"{_PREFIX}{folder.absolute()}"


def index_folder(root: Path) -> FolderIndex:
    """Find the images of a folder, and divide them into splits.

    A split without a folder of its own is taken from the images in ``train``, or from all images if
    there is no ``train`` either. A hash of the images' paths selects its images in each class, so
    the split is the same on every machine and in every run.

    Raises:
        DataError: see `check_source`.
    """
    try:
        return _index(root)
    except OSError as error:
        raise DataError(f"data folder {root} cannot be read: {error}") from None


def _index(root: Path) -> FolderIndex:
    if not root.exists():
        raise DataError(f"data folder {root} does not exist")
    if not root.is_dir():
        raise DataError(f"data folder {root} is a file, not a folder")
    own = [name for name in SPLITS if _is_split(root / name)]
    if own and "train" not in own:
        raise DataError(f"data folder {root} has {' and '.join(own)} but no train folder")
    found = {name: _classes(root, root / name) for name in own} or {"train": _classes(root, root)}
    names = list(found["train"])
    for split, classes in found.items():
        _check_same_classes(root, split, list(classes), names)
    if len(names) < 2:
        raise DataError(
            f"data folder {root} has one class only, {names[0]!r}: put the images of every "
            f"class in a folder of its own"
        )
    splits: dict[str, list[tuple[str, int]]] = {name: [] for name in SPLITS}
    for label, name in enumerate(names):
        own_images = {split: classes[name] for split, classes in found.items()}
        missing = [split for split in SPLITS if split not in found]
        for split, members in (own_images | _divide(own_images["train"], missing)).items():
            splits[split] += [(path, label) for path in members]
    index = FolderIndex(root, tuple(names), {k: tuple(sorted(v)) for k, v in splits.items()})
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
    for split, images in index.splits.items():
        if len(images) < MIN_IMAGES:
            raise DataError(
                f"data folder {index.root}: the {split} split has {len(images)} {what}, at "
                f"least {MIN_IMAGES} are needed; add images"
            )
        present = {label for _, label in images}
        for label, name in enumerate(index.class_names):
            if label not in present:
                raise DataError(
                    f"data folder {index.root}: the {split} split has no image of class "
                    f"{name!r}; add images of it"
                )


def _is_split(folder: Path) -> bool:
    """Whether a folder is a split: it has subfolders and no images, unlike a class's folder."""
    return folder.is_dir() and bool(_subfolders(folder)) and not any(_images_in(folder))


def _classes(root: Path, folder: Path) -> dict[str, list[str]]:
    """Sorted paths, relative to ``root``, of the images in each class folder, by class."""
    classes = {}
    for child in _subfolders(folder):
        images = [path.relative_to(root).as_posix() for path in _images_below(child)]
        if not images:
            raise DataError(f"class folder {child} has no images ({_suffixes()})")
        classes[child.name] = sorted(images)
    if not classes:
        detail = "images but no class folders" if any(_images_in(folder)) else "no class folders"
        raise DataError(
            f"data folder {folder} has {detail}: put the images of every class in a folder of "
            f"its own"
        )
    return classes


def _check_same_classes(root: Path, split: str, names: list[str], expected: list[str]) -> None:
    if names == expected:
        return
    extra, lacking = sorted(set(names) - set(expected)), sorted(set(expected) - set(names))
    parts = [f"has class {extra[0]!r}, which train lacks"] if extra else []
    parts += [f"lacks class {lacking[0]!r}, which train has"] if lacking else []
    raise DataError(f"data folder {root}: {split} {' and '.join(parts)}")


def _divide(images: list[str], missing: list[str]) -> dict[str, list[str]]:
    """Give each missing split its share of a class's images, and the rest to ``train``."""
    ordered = sorted(images, key=lambda path: hashlib.sha256(path.encode()).digest())
    divided = {}
    for split in missing:
        count = max(1, round(SPLIT_SHARES[split] * len(images)))
        divided[split], ordered = ordered[:count], ordered[count:]
    divided["train"] = ordered
    return divided


def _subfolders(folder: Path) -> list[Path]:
    children = (child for child in folder.iterdir() if child.is_dir())
    return sorted(child for child in children if not child.name.startswith("."))


def _images_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if _is_image(path))


def _images_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(parent, name)
            if _is_image(path):
                yield path


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")
    # A broken link counts as an image, one that cannot be read.
    there = path.is_file() or path.is_symlink()
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES and there


def _suffixes() -> str:
    return ", ".join(sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES))
