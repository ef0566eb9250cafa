"""Test accuracy of nano on balanced splits of the SMS Spam Collection: one training and one split a seed.

usage: python benchmarks/nano_accuracy.py [--seeds 5] [--data PATH]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
from pathlib import Path

from machine import machine, sms_path, write_result

from trainer.pipeline import train_classifier
from trainer.recipe import make_recipe


def main() -> None:
    """Train, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=sms_path())
    arguments = parser.parse_args()
    runs = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            recipe = make_recipe(model="nano", data=str(arguments.data), groups="none", seed=seed)
            metrics = train_classifier(recipe, Path(folder) / "checkpoint", device="cpu")
        keep = ("count", "accuracy", "f1", "roc_auc", "exact_repeats")
        runs.append(
            {"seed": seed, "unused_ham": metrics["unused_ham"]} | {name: metrics["test"][name] for name in keep}
        )
        print(f"seed {seed}: accuracy {runs[-1]['accuracy']:.2%}", flush=True)
    accuracies = [run["accuracy"] for run in runs]
    summary = {
        "mean_accuracy": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "mean_false_positive_rate_on_unused_ham": statistics.mean(
            run["unused_ham"]["false_positive_rate"] for run in runs
        ),
        "runs": runs,
    }
    print({name: value for name, value in summary.items() if name != "runs"})
    write_result("nano_accuracy", summary | machine())


if __name__ == "__main__":
    main()
