"""How many CPUs this process may really use, which inside a container is not how many the host has."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """The CPUs that the affinity mask and the control group's quota leave, at least one.

    A quota of one CPU and a half counts as one, as in Rust's ``available_parallelism``: a second busy thread would
    only be throttled.

    Args:
        root: Where ``proc`` and ``sys`` are mounted.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def _quotas(root: Path) -> list[float]:
    """CPU quotas of this process's control groups (v1 and v2) and of the groups above them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounts = ["sys/fs/cgroup"] if not controllers else ["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"]
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        for folder in (root / mount / level for mount in mounts for level in (group, *group.parents)):
            quota, period = _read_numbers(folder / "cpu.max", folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
            if quota > 0 and period > 0:
                found.append(quota / period)
    return found


def _read_numbers(v2: Path, v1_quota: Path, v1_period: Path) -> tuple[int, int]:
    """Quota and period in microseconds; (0, 0) where there is no limit."""
    try:
        quota, period = v2.read_text().split() if v2.exists() else (v1_quota.read_text(), v1_period.read_text())
        return int(quota), int(period)
    except (OSError, ValueError):  # absent, or "max"
        return 0, 0
