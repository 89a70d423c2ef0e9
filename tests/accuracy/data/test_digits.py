"""The digits data set: real scans, disjoint splits, the same values every time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from nas.accuracy.data.dataset import load_data
from nas.accuracy.data.digits import CLASS_NAMES, IMAGES, render_digits, scan_splits
from nas.config import ProxyConfig

HASH = """
import hashlib
from nas.accuracy.data.digits import render_digits
digest = hashlib.sha256()
for images, labels in render_digits(16).values():
    digest.update(images.tobytes() + labels.tobytes())
print(digest.hexdigest())
"""


def test_shapes_types_and_names() -> None:
    data = load_data(ProxyConfig())
    assert data.name == "digits"
    assert data.num_classes == 10
    assert data.class_names == CLASS_NAMES
    assert data.skipped == ()
    for split in ("train", "val", "test"):
        images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
        assert images.shape == (IMAGES[split], 3, 32, 32)
        assert images.dtype == torch.uint8
        assert labels.shape == (IMAGES[split],)
        assert labels.dtype == torch.int64
        shares = torch.bincount(labels, minlength=10) / len(labels)
        assert shares.min() > 0.07
        assert shares.max() < 0.13


def test_splits_render_disjoint_scans() -> None:
    splits = scan_splits()
    together = np.concatenate(list(splits.values()))
    assert len(np.unique(together)) == len(together) == 1797


def test_no_image_is_in_two_splits_or_twice() -> None:
    rendered = render_digits(32)
    images = [image.tobytes() for images, _ in rendered.values() for image in images]
    assert len(set(images)) == len(images)


def test_same_values_in_another_process() -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-c", HASH], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_kept_in_memory() -> None:
    assert render_digits(32) is render_digits(32)


def test_other_resolutions() -> None:
    data = load_data(ProxyConfig(resolution=16))
    assert data.val_images.shape[1:] == (3, 16, 16)
    assert data.val_images.float().std() > 20
