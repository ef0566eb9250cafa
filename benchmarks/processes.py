"""Contestants in processes of their own: one is alive at a time, and each tells of its own memory. Linux only."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

QUIET = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}

OPTIMUM = ("optimum", "optimum-onnx", "transformers", "torch", "onnxruntime")
"""Packages of Optimum's environment."""

Round = Mapping[str, float]
"""A figure by contestant."""


def bind(threads: int) -> None:
    """Let this process, and those it starts, use so many CPUs."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def ask(program: str, request: Mapping[str, Any]) -> Any:
    """Run a program as ``program --child REQUEST`` in a new process; what its last line says."""
    command = [sys.executable, program, "--child", json.dumps(request)]
    return json.loads(output_of(command))


def output_of(command: Sequence[str]) -> str:
    """The last line that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | QUIET)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{command[0]} failed")
    return done.stdout.splitlines()[-1]


def optimum_versions(python: Path | None) -> dict[str, dict[str, str]]:
    """Versions in Optimum's environment, for the result."""
    if python is None:
        return {}
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    return {"optimum": json.loads(output_of([str(python), "-c", code, *OPTIMUM]))}


def answer(serve: Callable[..., Any]) -> bool:
    """In a child: print what ``serve`` makes of the request, and say that this was a child."""
    if sys.argv[1:2] != ["--child"]:
        return False
    print(json.dumps(serve(**json.loads(sys.argv[2]))))
    return True


def memory(key: str) -> float:
    """Megabytes of this process: ``VmRSS`` are those in memory, ``VmHWM`` the most there ever were."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6, 1)


def forget_peak() -> None:
    """Give back what is free, and count ``VmHWM`` from here."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most of a figure over the rounds, to so many significant digits."""
    figures = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: float(f"{value:.{digits}g}") for name, value in figures.items()}


def spreads(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """`spread` for every contestant."""
    return {name: spread([one[name] for one in rounds]) for name in rounds[0]}


def ratios(rounds: Sequence[Round], ours: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """`spread` of the ratios within a round: each contestant's figure over each of ours."""
    names = [name for name in rounds[0] if name not in ours]
    return {
        own: {name: spread([one[name] / one[own] for one in rounds]) for name in names}
        for own in ours
        if own in rounds[0]
    }
