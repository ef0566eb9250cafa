"""What every benchmark says of where it ran, and where its figures go."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "torch", "onnx", "onnxruntime", "tiktoken", "numpy", "transformers", "openvino", "scikit-learn",
    "fasttext-community",
)  # fmt: skip


def sms_path() -> Path:
    """The SMS Spam Collection: as the tests find it."""
    named = os.environ.get("SMS_SPAM_COLLECTION")
    return Path(named) if named else ROOT.parent / "shared" / "data" / "SMSSpamCollection"


def collection() -> tuple[list[str], list[int]]:
    """Texts of the SMS Spam Collection in file order, and their labels, 1 for spam."""
    rows = [line.split("\t", 1) for line in sms_path().read_text(encoding="utf-8").split("\n") if line]
    return [text for _, text in rows], [int(label == "spam") for label, _ in rows]


def machine() -> dict[str, Any]:
    """Processor, cores and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in values.items()}
    flags = cpu.get("flags", "").split()
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    model = ", ".join(f"{name} {cpu[name]}" for name in ("model name", "cpu family", "model") if name in cpu)
    return {
        "machine": {
            "cpu": model or platform.processor(),
            "cores": len(os.sched_getaffinity(0)),
            "features": [flag for flag in flags if flag.startswith(("avx512", "amx", "avx_vnni", "avx2"))],
            "python": platform.python_version(),
            "versions": {name: installed[name] for name in PACKAGES if name in installed},
        }
    }


def read_result(name: str) -> dict[str, Any]:
    """What ``results/NAME.json`` holds; nothing where there is none."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def write_result(name: str, values: dict[str, Any]) -> Path:
    """Write ``results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(values, indent=1) + "\n")
    return path
