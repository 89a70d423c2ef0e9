"""Device names come from the hardware."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nas.measurement.cpu_quota import cpu_quota
from nas.measurement.device import hardware, slugify, this_cpu, usable_cpus


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
    assert re.fullmatch(r"[a-z0-9-]+-[0-9.]+c", device.name)
    assert device.threads == max(1, int(usable_cpus()))
    assert hardware(device.name) == device.name.rpartition("-")[0]
    assert device.threads >= 1
    assert device == this_cpu()


V1 = "cgroup cgroup rw,cpu,cpuacct"
V2 = "cgroup2 cgroup2 rw"


def _linux(root: Path, group: str, mount: str, files: dict[str, str]) -> Path:
    """A folder with what Linux shows a process of its control groups; returns the folder."""
    own = root / "proc" / "self"
    own.mkdir(parents=True)
    own.joinpath("cgroup").write_text(f"5:memory:/else\n{group}\n")
    own.joinpath("mountinfo").write_text(f"30 20 0:27 / /proc rw - proc proc rw\n{mount}\n")
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def _v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    name = f"cpu/{folder}/cpu.cfs".replace("//", "/")
    return {f"{name}_quota_us": str(quota), f"{name}_period_us": str(period)}


AT_V1 = f"40 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - {V1}"
AT_V2 = f"40 31 0:29 / /sys/fs/cgroup rw,relatime shared:4 - {V2}"


@pytest.mark.parametrize(
    ("group", "mount", "files", "quota"),
    [
        ("0::/", AT_V2, {"cpu.max": "50000 100000"}, 0.5),
        ("0::/", AT_V2, {"cpu.max": "max 100000"}, None),
        ("0::/", AT_V2, {}, None),
        ("0::/a/b", AT_V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", AT_V2, {"a/b/cpu.max": "40000 20000", "a/cpu.max": "300000 100000"}, 2.0),
        ("0::/gone/b", AT_V2, {"cpu.max": "70000 100000"}, 0.7),
        ("0::/../b", AT_V2, {"cpu.max": "70000 100000", "b/cpu.max": "1000 100000"}, 0.7),
        ("4:cpu,cpuacct:/", AT_V1, _v1("", 50_000), 0.5),
        ("4:cpu,cpuacct:/", AT_V1, _v1("", -1), None),
        ("4:cpu,cpuacct:/a/b", AT_V1, _v1("a/b", -1) | _v1("a", 200_000) | _v1("", -1), 2.0),
        (
            "4:cpu,cpuacct:/docker/12ab/job",
            AT_V1.replace(" / ", " /docker/12ab ", 1),
            _v1("job", 300_000) | _v1("", 250_000),
            2.5,
        ),
        (
            "4:cpu:/a",
            f"{AT_V1}\n{AT_V1.replace(' / ', ' /a ', 1)}",
            _v1("", 50_000) | _v1("a", 10_000),
            0.5,
        ),
        ("4:cpuset:/", AT_V1.replace("cpu,cpuacct", "cpuset"), _v1("", 50_000), None),
    ],
    ids=[
        *("v2", "v2-max", "v2-root", "v2-outer", "v2-inner", "v2-hidden-group", "v2-above"),
        *("v1", "v1-none", "v1-outer", "v1-mounted-group", "v1-mounted-over", "v1-other"),
    ],
)
def test_quota_is_the_least_of_all_levels(tmp_path, group, mount, files, quota):
    assert cpu_quota(_linux(tmp_path, group, mount, files)) == quota


def test_quota_without_linux_is_none(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cpus"), [("50000 100000", 0.5), ("99900000 100000", None)])
def test_usable_cpus_are_the_fewer_of_affinity_and_quota(tmp_path, quota, cpus):
    root = _linux(tmp_path, "0::/", AT_V2, {"cpu.max": quota})
    assert usable_cpus(root) == (cpus or len(os.sched_getaffinity(0)))
    assert usable_cpus(tmp_path / "none") == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("amd-epyc-2c", "amd-epyc"),
        ("amd-epyc-0.5c", "amd-epyc"),
        ("nvidia-t4", "nvidia-t4"),
        ("apple-m3-pro-12c", "apple-m3-pro"),
    ],
)
def test_hardware_is_the_name_without_cpus(name, model):
    assert hardware(name) == model
