"""The CPU quota of this process's control group: of its container, service or batch job.

Linux limits a group of processes to a share of the CPUs' time: by ``cpu.max`` in version 2 of
control groups, by ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` in version 1 (documentation of the
kernel, admin-guide/cgroup-v2 and scheduler/sched-bwc). The quotas of all groups around a group bind
it too.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Number of CPUs whose time this process may use; None without a quota.

    It is the least quota of all levels, from the process's group up to the highest that it sees.

    Args:
        root: folder that holds ``proc`` and the folders where control groups are mounted.
    """
    quotas = [
        quota
        for mounted, group in _groups(root / "proc" / "self")
        for quota in _quotas(root / mounted.lstrip("/"), group)
    ]
    return min(quotas, default=None)


def _groups(process: Path) -> Iterator[tuple[str, str]]:
    """Yield where each hierarchy with CPU quotas is mounted, and the group's path below that."""
    own: dict[str, str] = {}
    for line in _text(process / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        own.update(dict.fromkeys(controllers.split(","), group))
    mounts: dict[str, tuple[str, list[str]]] = {}  # a later mount at one place hides an earlier one
    for line in _text(process / "mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        fields = place.split()
        if len(fields) > 4 and kind.startswith("cgroup"):
            mounts[fields[4]] = fields[3], kind.split()
    for mounted, (top, kind_words) in mounts.items():
        controller = "" if kind_words[0] == "cgroup2" else "cpu"
        if controller in own and (not controller or "cpu" in kind_words[-1].split(",")):
            yield mounted, _below(own[controller], top)


def _below(group: str, top: str) -> str:
    """Path of a group below the group that is mounted; empty if the process sees no more of it."""
    top = top.rstrip("/")
    inside = group.startswith(f"{top}/") and ".." not in group.split("/")
    return group.removeprefix(top).strip("/") if inside else ""


def _quotas(mounted: Path, group: str) -> Iterator[float]:
    """Yield the quotas, in CPUs, of a group and of all groups around it."""
    folder = mounted / group
    while True:
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        if not quota:
            quota = _text(folder / "cpu.cfs_quota_us").strip()
            period = _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            yield int(quota) / int(period)  # without a quota there is "max" or -1
        if folder == mounted:
            return
        folder = folder.parent


def _text(path: Path) -> str:
    """Content of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
