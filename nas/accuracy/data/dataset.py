"""Data sets of proxy training, as uint8 tensors in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.accuracy.data.source import parse_source
from nas.config import ProxyConfig
from nas.space.workload import Workload


@dataclass(frozen=True)
class ProxyData:
    """A data set, in three splits.

    Attributes:
        train_images, val_images, test_images: uint8 [N, 3, H, W].
        train_labels, val_labels, test_labels: int64 [N], indices into ``class_names``.
        class_names: names of the classes, sorted.
        name: the data source, as the user gave it.
        skipped: paths of images that could not be read and were skipped.
        fingerprint: of a folder of images; None for data that come along.
    """

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    name: str
    skipped: tuple[str, ...] = ()
    fingerprint: DataFingerprint | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def workload(self) -> Workload:
        """Workload of a network that is trained on these images and classes."""
        height, width = self.train_images.shape[-2:]
        return Workload(height, width, self.num_classes)


def load_data(config: ProxyConfig, cache_dir: Path | None = None) -> ProxyData:
    """Read the data set that ``config.data`` names.

    Args:
        config: source, resolution, and whether to skip unreadable images.
        cache_dir: folder of the cache of decoded images; None for the user's cache folder.
            ``digits`` needs no cache.

    Raises:
        DataError: the source cannot be used; says what is wrong and where.
    """
    folder = parse_source(config.data)
    skipped: tuple[str, ...] = ()
    fingerprint = None
    if folder is None:
        from nas.accuracy.data.digits import CLASS_NAMES, render_digits

        class_names, splits = CLASS_NAMES, render_digits(config.resolution)
    else:
        from nas.accuracy.data.image_folder import load_folder

        decoded, fingerprint = load_folder(
            folder, config.resolution, config.skip_unreadable, cache_dir
        )
        class_names, splits, skipped = decoded.class_names, decoded.splits, decoded.skipped
    tensors = {}
    for name, (images, labels) in splits.items():
        tensors[f"{name}_images"] = torch.from_numpy(images)
        tensors[f"{name}_labels"] = torch.from_numpy(labels)
    return ProxyData(
        **tensors,
        class_names=class_names,
        name=config.data,
        skipped=skipped,
        fingerprint=fingerprint,
    )
