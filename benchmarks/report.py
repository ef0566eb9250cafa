"""Tables and plots from ``results/*.json``: ``README.md`` and ``plots/*.png`` here, and the block in the top README.

    python benchmarks/report.py [--no-plots]

The words are in ``page.md``. Every figure comes from a JSON file; where one is missing, the text says which command
makes it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import processes
from machine import RESULTS, ROOT
from scipy import stats

Json = Mapping[str, Any]
Make = Callable[[Json], str]

PAGE = Path(__file__).parent / "page.md"
README = Path(__file__).parent / "README.md"
TOP = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
SVM = "TF-IDF and linear SVM"


@dataclass(frozen=True)
class Table:
    """What is made of one result."""

    command: str
    """The program that writes it, and its arguments."""
    make: Make


def main() -> None:
    """Write all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-plots", action="store_true", help="the text alone")
    arguments = parser.parse_args()
    results = read_results()
    if not arguments.no_plots:
        from plots import draw

        draw(results)
    README.write_text(page(results), encoding="utf-8")
    TOP.write_text(with_block(TOP.read_text(encoding="utf-8"), results), encoding="utf-8")


def read_results(folder: Path = RESULTS) -> dict[str, Json]:
    """All results by name; of `quality.py` one for each protocol, with its rows."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    path = folder / "quality.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    for protocol, about in results.pop("quality", {}).items():
        of_it = [row for row in rows if row["protocol"] == protocol]
        results[f"quality_{protocol}"] = about | {"rows": of_it}
    return results


def with_block(readme: str, results: Mapping[str, Json]) -> str:
    """A text with what is between the two markers made anew; without them it stays as it is."""
    made = f"{BEGIN}\n{summary(results)}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: made, readme, flags=re.DOTALL)


def page(results: Mapping[str, Json]) -> str:
    """``page.md`` with its places filled.

    They are ``{{summary}}``, ``{{machine}}``, ``{{plot NAME: CAPTION}}``, and ``{{NAME}}`` for a result's table.
    """
    machines = Counter(map(machine_of, results.values()))
    usual = next((machine for machine, _ in machines.most_common() if machine), "")

    def filled(place: re.Match[str]) -> str:
        what = place[1]
        if what == "summary":
            return summary(results)
        if what == "machine":
            return usual or "nothing is measured yet"
        if what.startswith("plot "):
            name, caption = what.removeprefix("plot ").split(": ", 1)
            return f"![{caption}](plots/{name}.png)\n\n*{caption}*" if name in results else ""
        return shown(TABLES[what], results.get(what), usual)

    text = re.sub(r"\{\{(.+?)\}\}", filled, PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\n{3,}", "\n\n", text)


def shown(table: Table, result: Json | None, usual: str) -> str:
    """A table with its command under it, and its machine where that is not the usual one."""
    command = f"`python benchmarks/{table.command}`"
    if result is None:
        return f"Not measured yet; this does it: {command}"
    try:
        text = f"{table.make(result)}\n\n{command}"
    except (KeyError, TypeError):
        return f"Measured by an earlier form of the program; this does it anew: {command}"
    if "commands" in result:
        text = text.removesuffix(command) + "  \n".join(f"`python benchmarks/{each}`" for each in result["commands"])
    if "optimum" in result:
        text += f"  \nIn OTHER: {versions(result['optimum'])}."
    machine = machine_of(result)
    return text if machine in ("", usual) else f"{text}  \nMeasured on {machine}."


def versions(packages: Mapping[str, str]) -> str:
    """Packages with their versions."""
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def machine_of(result: Json) -> str:
    """Where a result comes from, as far as it says."""
    if "machine" not in result:
        return ""
    where = result["machine"]
    cpu = where["cpu"].replace("model name ", "").replace("cpu family", "family")
    features = [flag for flag in where["features"] if flag in ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")]
    packages = versions({name: version for name, version in where["versions"].items() if name != "fasttext-community"})
    return f"{cpu}, {where['cores']} cores ({', '.join(features)}), Python {where['python']}, {packages}"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three significant digits, or all of a larger whole number."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    if abs(value) < 0.001:
        return f"{value:.0e}"
    text = f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")
    return text


def spread(figure: Mapping[str, float], unit: str = "") -> str:
    """A median with the least and the most of the rounds, where they differ."""
    if figure["least"] == figure["most"]:
        return f"{number(figure['median'])}{unit}"
    return f"{number(figure['median'])}{unit} ({number(figure['least'])}–{number(figure['most'])})"


def times(value: float) -> str:
    """A ratio."""
    return f"{value:.2f}" if value < 10 else number(value)


def ratio(figure: Mapping[str, float]) -> str:
    """A ratio with its spread, bold where ours is behind."""
    text = times(figure["median"])
    if figure["least"] != figure["most"]:
        text += f" ({times(figure['least'])}–{times(figure['most'])})"
    return f"**{text}**" if figure["median"] < 1 else text


def mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean over splits, and half of its 95% interval (Student's t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
    return float(np.mean(values)), float(half)


def percent(values: Sequence[float] | None) -> str:
    """A mean in percent with its interval."""
    if values is None:
        return ""
    middle, half = mean(values)
    return f"{100 * middle:.2f} ± {100 * half:.2f}"


# --- one message ----------------------------------------------------------------------------------------------------

PAIRS = (
    ("ours fp32", "Optimum fp32"),
    ("ours int8", "Optimum int8"),
    ("ours int8", "OpenVINO on Optimum's"),
    ("ours fp32", "OpenVINO on Optimum's"),
    ("ours fp32", "PyTorch eager"),
    ("ours int8", "PyTorch eager"),
    ("ours fp32", "PyTorch eager, padded to 120"),
    ("ours int8", "PyTorch eager, padded to 120"),
)


TITLES = {"p50": "median message", "p99": "99th percentile", "mean": "mean message", "1 tokens": "1 token"}


def latency(result: Json) -> str:
    """Milliseconds, and ratios of pairs."""
    every = result["milliseconds"]
    rows = [
        [name, *(number(of[name]["median"]) if name in of else "" for of in every.values())] for name in every["p50"]
    ]
    some = [work for work in every if work not in ("mean", "4 tokens")]
    pairs = [
        [f"{theirs} / {ours}", *(beside(result["times_ours"][work][ours], theirs) for work in some)]
        for ours, theirs in PAIRS
        if theirs in every["p50"]
    ]
    tables = [[f"ms, {threads(result)}", *map(title, every)], rows], [["times as long", *map(title, some)], pairs]
    return "\n\n".join(grid(*table) for table in tables)


def beside(ratios: Json, name: str) -> str:
    """A ratio where there is one."""
    return ratio(ratios[name]) if name in ratios else ""


def title(work: str) -> str:
    """A column's head."""
    return TITLES.get(work, work)


def threads(result: Json) -> str:
    """How many threads."""
    return f"{result['threads']} thread{'s' * (result['threads'] > 1)}"


# --- bulk -----------------------------------------------------------------------------------------------------------


def throughput(result: Json) -> str:
    """Messages a second and memory."""
    speed, peak = result["messages_per_second"], result["peak_mb"]
    rows = [[name, spread(of), number(peak[name]["median"])] for name, of in speed.items()]
    pairs = [[name, ratio(figure)] for name, figure in result["ratios"].items()]
    head = [f"{threads(result)}, {result['rounds']} rounds", "messages a second", "peak memory, MB"]
    return f"{grid(head, rows)}\n\n{grid(['times as many', 'median (least–most)'], pairs)}"


def scaling(result: Json) -> str:
    """By count, by length, by budget."""
    parts = []
    for key, unit in (("messages", "messages"), ("characters", "characters a message")):
        names = [name for name in next(iter(result[key].values())) if name != "speed_of_ours"]
        for figure, title in (("messages_per_second", "messages a second"), ("peak_mb", "peak memory, MB")):
            rows = [
                [f"{int(size):,}", *(spread(of[name][figure]) for name in names)] for size, of in result[key].items()
            ]
            parts.append(grid([f"{title}, by {unit}", *names], rows))
        rows = [
            [f"{int(size):,}", *(ratio(of["speed_of_ours"][name]) for name in names[1:])]
            for size, of in result[key].items()
        ]
        parts.append(grid([f"ours, times as fast, by {unit}", *(f"as {name}" for name in names[1:])], rows))
    budgets = result["max_batch_tokens"]
    rows = [
        [f"{int(budget):,}", *(spread(of[budget][figure]) for of in budgets.values() for figure in FIGURES)]
        for budget in next(iter(budgets.values()))
    ]
    heads = [f"{title}, {workload}" for workload in budgets for title in FIGURES.values()]
    parts.append(grid(["max_batch_tokens", *heads], rows))
    large = result["large"]
    if large:
        rows = [
            [
                f"{int(count):,}",
                *(number(of[count][key]) if count in of else "" for of in large.values() for key in FIGURES),
            ]
            for count in sorted({count for of in large.values() for count in of}, key=int)
        ]
        heads = [f"{title}, {name}" for name in large for title in FIGURES.values()]
        parts.append(grid(["124M, messages", *heads], rows))
    return "\n\n".join(parts)


FIGURES = {"messages_per_second": "messages a second", "peak_mb": "peak MB"}


# --- footprint ------------------------------------------------------------------------------------------------------


def footprint(result: Json) -> str:
    """Install sizes and cold start."""
    installs = result["install_mb"]
    own = installs["spam-edge"]["total"]
    cold = result["cold_start"]
    rows = []
    for name, install in installs.items():
        largest = ", ".join(f"{package} {number(size)}" for package, size in list(install["packages"].items())[:3])
        start = [spread(cold["seconds"][name]), "", number(cold["peak_mb"][name]["median"])]
        if name in cold["times_ours"]:
            start[1] = ratio(cold["times_ours"][name])
        rows.append([name, number(install["total"]), times(install["total"] / own), largest, *start])
    head = ["", "install, MB", "times ours", "largest packages, MB", "one line, s", "times ours", "peak, MB"]
    return grid(head, rows)


def runtime_footprint(result: Json) -> str:
    """Start, memory, liveness."""
    rows = [[name, number(of["seconds"]), number(of["of import onnxruntime"])] for name, of in result["start"].items()]
    parts = [grid(["from start to exit", "s", "times `import onnxruntime`"], rows)]
    memory = result.get("memory_124m_int8")
    if memory:
        rows = [
            [name, number(of["resident"]), number(of["of the file"]), number(of["peak"])]
            for name, of in memory.items()
            if name != "file_mb"
        ]
        file = f"124M int8, a file of {number(memory['file_mb'])} MB"
        parts.append(grid([file, "resident, MB", "times the file", "peak, MB"], rows))
    peaks = ", ".join(f"{number(mb)} MB with {budget}" for budget, mb in result["full_context_peak_mb"].items())
    live = result["live_ms"]
    parts.append(
        f"Peak over 1,000 messages that fill the context, by `max_batch_tokens`: {peaks}. From a line written to "
        f"`spam-infer -` to its verdict: {number(live['median'])} ms, at most {number(live['most'])} ms."
    )
    return "\n\n".join(parts)


def soak(result: Json) -> str:
    """The long runs."""
    lines, calls, threads = result["lines"], result["calls"], result["threads"]
    rows = [
        [f"{lines['lines']:,} lines through `spam-infer -`", f"grows {number(lines['growth_mb'])} MB"],
        [f"{calls['calls']:,} calls", f"grow {number(calls['growth_mb'])} MB"],
        [
            f"{threads['threads']} threads × {threads['calls_each']:,} calls",
            f"{threads['answers_that_differ']} answers differ",
        ],
    ]
    return grid(["soak", "memory or answers"], rows)


def fuzz(result: Json) -> str:
    """Coverage-guided fuzzing: what ran without a crash, a hang, or an exception that is not documented."""
    rows = [[target, f"{of['runs']:,}", str(of["seconds"])] for target, of in result["targets"].items()]
    return grid(["fuzzed", "runs, none a finding", "seconds"], rows)


# --- training -------------------------------------------------------------------------------------------------------

RUNS = {
    "book": "the textbook's loop",
    "longest": "ours, padded as the textbook does",
    "fp32": "ours, fp32",
    "bf16": "ours, bf16",
    "all": "ours, all layers, random weights",
}


def training(result: Json) -> str:
    """Time and accuracy of each run."""
    faster = result.get("times_faster", {})
    rows = [
        [
            title,
            spread(of_rounds(run)),
            ratio(faster[name]) if name in faster else "",
            *(f"{100 * run['accuracy'][part]:.2f}" for part in ("train", "validation", "test")),
            ", ".join(f"{phase} {number(seconds)}" for phase, seconds in run.get("phases", {}).items()),
        ]
        for name, title in RUNS.items()
        if (run := result["runs"].get(name))
    ]
    head = [f"{result['epochs']} epochs, 124M, random weights", "s", "times as fast", "training accuracy, %"]
    text = grid([*head, "validation", "test", "seconds by phase"], rows)
    if "largest_difference_of_a_loss" in result:
        text += (
            "\n\nPadded as the textbook pads, ours has the textbook's losses: the largest difference in a step is "
            f"{result['largest_difference_of_a_loss']:.1e}."
        )
    return text


def of_rounds(run: Json) -> dict[str, float]:
    """Seconds of the rounds; of a run that was done once, what its own epochs would come to."""
    seconds, epochs = run["seconds_of_rounds"], run.get("epoch_seconds", [])
    rest = run["seconds"] - sum(epochs)
    return processes.spread([*seconds, *(len(epochs) * one + rest for one in epochs)])


def training_memory(result: Json) -> str:
    """Memory by the number of messages."""
    rows = [[f"{run['messages']:,}", *(number(run[key]) for key in MEMORY)] for run in result["runs"]]
    return grid([f"messages, with --cache-gb {result['cache_gb']}", *MEMORY.values()], rows)


MEMORY = {"text_mb": "their text, MB", "peak_mb": "peak memory of spam-train, MB", "cpu_seconds": "seconds of CPU"}


# --- quality --------------------------------------------------------------------------------------------------------

FIGURE_NAMES = {
    "f1": "F1",
    "recall": "recall",
    "false_positive_rate": "ham called spam",
    "recall_at_fpr_0.005": "recall at 0.5% of ham",
    "recall_at_fpr_0.02": "recall at 2% of ham",
    "roc_auc": "ROC AUC",
    "expected_calibration_error": "calibration error",
    "f1_at_half": "F1 at 0.5",
    "accuracy_at_half": "accuracy at 0.5",
}
OVER = " over the best linear model"
LESS = {f"{name}{OVER}": FIGURE_NAMES[name] for name in ("f1", "recall_at_fpr_0.005", "recall_at_fpr_0.02", "roc_auc")}


@dataclass(frozen=True)
class Pivot:
    """A table of the rows of one protocol: what stands down its side, and across."""

    head: str
    down: str = "set"
    across: str = "contestant"
    figures: Sequence[str] = tuple(FIGURE_NAMES)
    contestants: Sequence[str] = ()
    """All of them where none is named."""
    sets: str = ""
    """One set, or with a blank at the end a group of `GROUPS`; by default, all that are in no group."""

    def wants(self, row: Json) -> bool:
        """Whether a row is in it."""
        group = row["set"].split(" ")[0]
        return (
            row["figure"] in self.figures
            and row["contestant"] in (self.contestants or [row["contestant"]])
            and (row["set"] == self.sets or f"{group} " == self.sets or (not self.sets and group not in GROUPS))
        )


GROUPS = ("language", "channel", "theme")
LESS_LINEAR = "less the best linear model, points"
QUALITY = {
    "itself": (
        Pivot("F1, %", figures=["f1"]),
        Pivot("ROC AUC, %", figures=["roc_auc"]),
        Pivot("ham called spam, %", figures=["false_positive_rate"]),
        Pivot(f"nano {LESS_LINEAR}", across="figure", figures=tuple(LESS), contestants=["nano"]),
    ),
    "unseen": (
        Pivot("shipped, %", across="figure", figures=tuple(FIGURE_NAMES)[:7], contestants=["shipped"]),
        Pivot("ROC AUC, %", figures=["roc_auc"]),
        Pivot(f"shipped {LESS_LINEAR}", across="figure", figures=tuple(LESS), contestants=["shipped"]),
        *(
            Pivot("shipped, %", "set", "figure", ["recall", "false_positive_rate"], ["shipped"], f"{column} ")
            for column in GROUPS
        ),
    ),
    "left-out": (
        Pivot("ROC AUC, %", figures=["roc_auc"]),
        Pivot("recall at 2% of ham, %", figures=[*FIGURE_NAMES][4:5]),
    ),
    "disguises": (
        Pivot("recall, %", figures=["recall"]),
        Pivot("ham called spam, %", figures=["false_positive_rate"]),
    ),
    "size": (
        Pivot("ROC AUC, %", "contestant", "set", ["roc_auc"]),
        Pivot("recall at 0.5% of ham, %", "contestant", "set", ["recall_at_fpr_0.005"]),
    ),
    "natural": (
        *(
            Pivot(f"{name}, {what}", "contestant", "figure", figures, sets=name)
            for name in ("sms", "sms + datasets")
            for what, figures in {"%": tuple(FIGURE_NAMES), LESS_LINEAR: tuple(LESS)}.items()
        ),
    ),
    "chapter": (
        Pivot("%", "contestant", "figure", ["accuracy_at_half", "f1_at_half", "roc_auc"], sets="sms"),
        Pivot("accuracy, %", "contestant", "set", ["accuracy_at_half"]),
    ),
}


def quality(result: Json) -> str:
    """The tables of a protocol."""
    pivots = QUALITY[result["rows"][0]["protocol"]]
    return "\n\n".join(filter(None, (pivoted(pivot, result["rows"]) for pivot in pivots)))


def pivoted(pivot: Pivot, rows: Iterable[Json]) -> str:
    """One table, rows and columns in order of appearance; empty where there is nothing for it."""
    cells: dict[str, dict[str, list[Json]]] = {}
    for row in filter(pivot.wants, rows):
        cells.setdefault(row[pivot.down], {}).setdefault(row[pivot.across], []).append(row)
    names = FIGURE_NAMES | LESS
    columns = list(dict.fromkeys(name for of in cells.values() for name in of))
    columns.sort(key=lambda name: [*names].index(name) if name in names else 0)
    lines = [[down, *(estimate(of.get(column, ())) for column in columns)] for down, of in cells.items()]
    return grid([pivot.head, *(names.get(name, name) for name in columns)], lines) if cells else ""


def estimate(rows: Sequence[Json]) -> str:
    """Mean over several splits with its 95% interval, or the figure of one with its own; in percent."""
    if len(rows) != 1:
        return percent([row["value"] for row in rows]) if rows else ""
    low, value, high = (100 * rows[0].get(key, rows[0]["value"]) for key in ("low", "value", "high"))
    return f"{value:.2f}" + (f" ({low:.2f} to {high:.2f})" if low < high else "")


def mean_of(result: Json, contestant: str, figure: str, name: str = "") -> float:
    """Mean of a figure over the splits, and over the sets where none is named. Raises ``KeyError`` without any."""
    wanted = {"contestant": contestant, "figure": figure} | ({"set": name} if name else {})
    found = [row["value"] for row in result["rows"] if wanted.items() <= row.items()]
    if not found:
        raise KeyError(f"{contestant} {figure}")
    return float(np.mean(found))


# --- invariance -----------------------------------------------------------------------------------------------------


def invariance(result: Json) -> str:
    """Largest change of a logit, and verdicts that changed."""
    trained = result["trained"]
    rows = []
    for name, of in result["models"].items():
        row = [name, number(of["largest_change"]), number(of["median_change"]), number(of["spread_of_logits"])]
        rows.append(row + ([f"{of['changed_verdicts']} of {of['messages']:,}"] if trained else []))
    head = ["largest change of a logit", "median over messages", "logits' own spread"]
    what = "nano, trained" if trained else "124M, random weights"
    return grid([what, *head, *(["changed verdicts"] if trained else [])], rows)


# --- files ----------------------------------------------------------------------------------------------------------


def files(result: Json) -> str:
    """Exported files beside Optimum's and OpenVINO, and how near each is to what the CPU can do."""
    figures, pairs = result["milliseconds_and_megabytes"], result["times_faster"]
    columns, works = list(next(iter(figures.values()))), list(next(iter(pairs.values())))
    tables = [
        grid(["124M", *columns], [[name, *(cell(of[key]) for key in columns)] for name, of in figures.items()]),
        grid(
            ["times as long", *works],
            [[name, *(ratio(of[work]) for work in works)] for name, of in pairs.items() if like_with_like(name)],
        ),
        grid(
            ["share of the time that the CPU needs at least", *works],
            [[name, *(share(of[work]) for work in works)] for name, of in result["share_of_the_floor"].items()],
        ),
    ]
    return "\n\n".join(tables)


def share(figure: Mapping[str, float]) -> str:
    """A share with its spread, in percent."""
    return f"{100 * figure['median']:.0f}% ({100 * figure['least']:.0f}–{100 * figure['most']:.0f})"


def cell(value: float | Mapping[str, float]) -> str:
    """A figure, or a median with its spread."""
    return number(value) if isinstance(value, (int, float)) else spread(value)


def like_with_like(pair: str) -> bool:
    """Whether both have one precision, or the peer chooses its own; or ours is the bound.

    Of ours, portable files with the oldest opset, and those for onnxruntime with the one that has Attention.
    """
    theirs, ours = pair.split(" / ")
    if ours == "dynamic-int8":
        return theirs == "optimum-int8"
    opset = "-17" if ours.startswith("portable") else "-23"
    return ours.endswith(opset) and (theirs.startswith("openvino") or ("int8" in theirs) == ("int8" in ours))


# --- summary --------------------------------------------------------------------------------------------------------

Row = tuple[str, str, str, str]


def summary(results: Mapping[str, Json]) -> str:
    """What came out, a line a question."""
    found = {name: lines(name, results) for name in SUMMARIES}
    rows = [row for of in found.values() for row in of]
    missing = dict.fromkeys(f"`{TABLES[name].command.split()[0]}`" for name, of in found.items() if not of)
    text = grid(["", "spam-edge", "beside", "ratio, or points"], rows)
    if missing:
        text += f"\n\nNot measured yet: {', '.join(missing)}."
    return text


def lines(name: str, results: Mapping[str, Json]) -> list[Row]:
    """Those of one result; none where there is none, or one of an earlier form."""
    try:
        return SUMMARIES[name](results[name])
    except (KeyError, TypeError):
        return []


def short_latency(result: Json) -> list[Row]:
    """Median message."""
    ms, times = result["milliseconds"]["p50"], result["times_ours"]["p50"]
    peers = ("PyTorch eager, padded to 120", "Optimum int8", "OpenVINO on Optimum's")
    wanted = [*(("ours int8", peer) for peer in peers), ("ours fp32", "Optimum fp32")]
    return [
        (
            f"one message, 124M {ours.split()[1]}, {threads(result)}, median",
            f"{number(ms[ours]['median'])} ms",
            f"{theirs}: {number(ms[theirs]['median'])} ms",
            ratio(times[ours][theirs]),
        )
        for ours, theirs in wanted
        if theirs in ms
    ]


IN_SHORT = (
    ("ours 124M int8", "Optimum int8, batches of 32"),
    ("ours 124M int8", "OpenVINO on Optimum's, batches of 32"),
    ("ours 124M int8", "PyTorch eager, padded to 120"),
    ("ours 124M fp32", "Optimum fp32, batches of 32"),
    ("ours small", SVM),
    ("ours small", "naive Bayes"),
)
"""Of bulk, what the summary has."""


def short_throughput(result: Json) -> list[Row]:
    """Messages a second, and memory."""
    speed, peak = (
        {name: of["median"] for name, of in result[key].items()} for key in ("messages_per_second", "peak_mb")
    )
    rows = [
        (
            f"the collection, text to label, {threads(result)}",
            f"{own.removeprefix('ours ')}: {number(speed[own])} messages a second",
            f"{peer}: {number(speed[peer])}",
            ratio(result["ratios"][f"{own} / {peer}"]),
        )
        for own, peer in IN_SHORT
    ]
    own, peer = IN_SHORT[0]
    memory = (
        "peak memory of it",
        f"{own.removeprefix('ours ')}: {number(peak[own])} MB",
        f"{peer}: {number(peak[peer])} MB",
    )
    return [*rows, (*memory, times(peak[peer] / peak[own]))]


def short_footprint(result: Json) -> list[Row]:
    """Install and start."""
    install, cold, name = result["install_mb"], result["cold_start"], "transformers and PyTorch"
    own, other = install["spam-edge"]["total"], install[name]["total"]
    seconds = cold["seconds"]
    return [
        ("install", f"{number(own)} MB", f"{name}: {number(other)} MB", times(other / own)),
        (
            "one line, from start to exit",
            f"{number(seconds['spam-edge']['median'])} s",
            f"{name}: {number(seconds[name]['median'])} s",
            ratio(cold["times_ours"][name]),
        ),
    ]


def short_training(result: Json) -> list[Row]:
    """Seconds of training."""
    runs, faster = result["runs"], result.get("times_faster", {})
    return [
        (
            f"fine-tuning 124M, {result['epochs']} epochs, {name}",
            f"{number(runs[name]['seconds'])} s",
            f"the textbook's loop: {number(runs['book']['seconds'])} s",
            ratio(faster[name]),
        )
        for name in ("fp32", "bf16")
        if name in faster
    ]


def beside_linear(result: Json, own: str, figures: Mapping[str, str], name: str = "") -> list[Row]:
    """A contestant of ours beside the linear SVM, by figure."""
    rows = []
    for figure, title in figures.items():
        mine, theirs = (100 * mean_of(result, who, figure, name) for who in (own, SVM))
        behind = (mine > theirs) == (figure == "false_positive_rate") and mine != theirs
        points = f"{mine - theirs:.2f} points"
        rows.append((title, f"{own}: {mine:.2f}%", f"{SVM}: {theirs:.2f}%", f"**{points}**" if behind else points))
    return rows


def short_natural(result: Json) -> list[Row]:
    """nano on the collection."""
    titles = {"f1": "F1, 80% of the collection", "false_positive_rate": "ham called spam there"}
    return beside_linear(result, "nano", titles, "sms")


def short_disguises(result: Json) -> list[Row]:
    """The shipped model on messages that no contestant has seen, all disguises together."""
    titles = {"recall": "recall of disguised spam", "false_positive_rate": "disguised ham called spam"}
    return beside_linear(result, "shipped", titles)


def short_invariance(result: Json) -> list[Row]:
    """What neighbours change."""
    models = result["models"]
    return [
        (
            "largest change of a logit by the batch, nano int8",
            number(models["ours int8"]["largest_change"]),
            f"{name}: {number(models[name]['largest_change'])}",
            "",
        )
        for name in ("Optimum int8", "onnxruntime dynamic int8 of ours")
        if name in models
    ]


SUMMARIES: dict[str, Callable[[Json], list[Row]]] = {
    "latency_2": short_latency,
    "runtime_throughput_2": short_throughput,
    "footprint": short_footprint,
    "train_speed": short_training,
    "quality_natural": short_natural,
    "quality_disguises": short_disguises,
    "invariance_nano": short_invariance,
}

# --- what there is --------------------------------------------------------------------------------------------------

OTHER = "--optimum-python OTHER/bin/python"

TABLES = {
    "latency_2": Table(f"latency.py {OTHER} --threads 2", latency),
    "latency_1": Table(f"latency.py {OTHER} --threads 1 --rounds 2", latency),
    "runtime_throughput_2": Table(f"runtime_throughput.py {OTHER} --threads 2", throughput),
    "runtime_throughput_1": Table(f"runtime_throughput.py {OTHER} --threads 1 --stride 4 --rounds 2", throughput),
    "scaling": Table("scaling.py --full --large 124M_INT8.onnx 124M_FP32.onnx", scaling),
    "footprint": Table(f"footprint.py {OTHER}", footprint),
    "runtime_footprint": Table("runtime_footprint.py --large 124M_INT8.onnx", runtime_footprint),
    "runtime_soak": Table("runtime_soak.py", soak),
    "runtime_fuzz": Table("runtime_fuzz.py all", fuzz),
    "train_speed": Table("train_speed.py", training),
    "train_memory": Table("train_memory.py", training_memory),
    **{f"quality_{protocol}": Table(f"quality.py --part {protocol}", quality) for protocol in QUALITY},
    "invariance_nano": Table(f"invariance.py {OTHER} --shape nano", invariance),
    "invariance_gpt2": Table(f"invariance.py {OTHER} --shape gpt2", invariance),
    "export_speed": Table(f"export_speed.py {OTHER}", files),
}

if __name__ == "__main__":
    main()
