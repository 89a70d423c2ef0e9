"""The device on which a table is measured: its name, description and usable cores."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nas.measurement.cpu_quota import cpu_quota


@dataclass(frozen=True)
class Device:
    """A device that can be measured.

    Attributes:
        name: stable name, usable as a folder name, for example ``intel-core-i7-1165g7-8c``.
        description: name that the hardware reports.
        threads: number of CPU threads to use, at most as many as this process has CPUs; 0 if the
            device is not a CPU.
    """

    name: str
    description: str
    threads: int


@lru_cache(maxsize=1)
def this_cpu() -> Device:
    """The CPU of this machine.

    Its name consists of the model and the number of CPUs that this process may use. A quota can
    make that a fraction: half a CPU is ``-0.5c``, and has one thread.
    """
    cpus = usable_cpus()
    brand, model = _linux_cpu() or (_macos_cpu() or platform.processor() or platform.machine(), "")
    slug = slugify(brand)
    if not re.search(r"\d", slug) and model:
        slug += f"-model{model}"  # virtual machines often hide the marketing name
    return Device(f"{slug}-{cpus:g}c", f"{brand}, {cpus:g} cores", max(1, int(cpus)))


def hardware(name: str) -> str:
    """A device's name without the number of CPUs, which may change on one machine."""
    return re.sub(r"-[0-9.]+c$", "", name)


def usable_cpus(root: Path = Path("/")) -> float:
    """Number of CPUs that this process may use: by its affinity and its quota.

    A quota is rounded to hundredths.

    Args:
        root: as for `cpu_quota`.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else min(cores, max(0.01, round(quota, 2)))


def slugify(text: str) -> str:
    """Make a name for a folder: lower-case words joined by dashes.

    Trademark signs and clock rates are left out.
    """
    text = re.sub(r"\((r|tm)\)|@.*|\bcpu\b", " ", text, flags=re.IGNORECASE)
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "unknown-cpu"


def _linux_cpu() -> tuple[str, str] | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    entries: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        entries.setdefault(key.strip().lower(), value.strip())
    brand = entries.get("model name") or entries.get("hardware") or entries.get("cpu part")
    return (brand, entries.get("model", "")) if brand else None


def _macos_cpu() -> str:
    if platform.system() != "Darwin":
        return ""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
