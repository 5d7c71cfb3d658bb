"""Where a comparison ran: machine and versions, read without importing anything heavy."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib

_LIBRARIES = (
    "skcnn",
    "scikit-learn",
    "numpy",
    "scipy",
    "torch",
    "skorch",
    "joblib",
    "pandas",
    "pillow",
)


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that take part in a comparison."""
    versions = {"Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_machine() -> dict[str, str]:
    """What matters for times: system, processor, usable cores and thread limits."""
    threads = os.environ.get("OMP_NUM_THREADS")
    return {
        "System": f"{platform.system()} {platform.machine()}".strip(),
        "Processor": _processor_name(),
        "Usable cores": str(joblib.cpu_count()),
        "OMP_NUM_THREADS": threads or "not set",
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
