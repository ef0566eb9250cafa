"""Memory of spam-train against the number of messages, with the output of the frozen part kept within a budget.

    python benchmarks/train_memory.py [--messages 10000 100000 1000000] [--cache-gb 0.2]

The messages are drawn from the SMS Spam Collection, each with a number of its own. nano trains its last block for one
epoch in batches of 256. The million takes some ten minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import machine, sms_path, write_result


def main() -> None:
    """Train on each number of messages in a process of its own, and write ``results/train_memory.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--cache-gb", type=float, default=0.2)
    arguments = parser.parse_args()
    runs = [run(count, arguments.cache_gb) for count in arguments.messages]
    write_result("train_memory", {"cache_gb": arguments.cache_gb, "runs": runs} | machine())


def run(count: int, cache_gb: float) -> dict[str, Any]:
    """Peak resident memory of one training, the text of its messages, and its time."""
    lines = sms_path().read_text(encoding="utf-8").split("\n")[:-1]
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "messages.tsv"
        with data.open("w", encoding="utf-8") as file:
            file.writelines(f"{draw.choice(lines)} {number}\n" for number in range(count))
        command = [
            Path(sys.executable).parent / "spam-train", "--data", data, "--model", "nano", "--balance", "none",
            "--trainable", "last-block", "--epochs", "1", "--batch-size", "256", "--device", "cpu",
            "--set", "groups=none", "--cache-gb", str(cache_gb), "--out", Path(folder) / "checkpoint",
        ]  # fmt: skip
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"spam-train failed on {count} messages")
        found = {
            "messages": count,
            "text_mb": round(data.stat().st_size / 1e6, 1),
            "peak_mb": round(usage.ru_maxrss / 1024, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        }
    print(found, flush=True)
    return found


if __name__ == "__main__":
    main()
