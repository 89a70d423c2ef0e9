"""Device names come from the hardware."""

from __future__ import annotations

import re

import pytest

from nas.measurement.device import slugify, this_cpu


@pytest.mark.parametrize(
    ("brand", "slug"),
    [
        ("Intel(R) Core(TM) i7-1165G7 CPU @ 2.80GHz", "intel-core-i7-1165g7"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763-64-core-processor"),
        ("Apple M3 Pro", "apple-m3-pro"),
        ("../../etc", "etc"),
        ("", "unknown-cpu"),
    ],
)
def test_slugs_are_folder_safe(brand, slug):
    assert slugify(brand) == slug


def test_this_machine_has_a_name_and_threads():
    device = this_cpu()
    assert re.fullmatch(r"[a-z0-9-]+", device.name)
    assert device.name.endswith(f"-{device.threads}c")
    assert device.threads >= 1
    assert device == this_cpu()
