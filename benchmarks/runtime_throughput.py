"""From text to labels, messages a second and peak memory: the runtime beside what a user would pick instead.

    python benchmarks/runtime_throughput.py --optimum-python OTHER/bin/python [--stride 1] [--rounds 3] [--threads 2]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`. The messages are every STRIDE-th of the
SMS Spam Collection, in file order; slow contestants get every so many-th of those, which tells as much of their speed.
124M (random weights, speed does not depend on them): the files of `spam-export --target onnxruntime --opset 23` through
`SpamClassifier`; Optimum's through transformers' tokenizer in padded batches of 32; OpenVINO on Optimum's fp32 file in
the same batches; PyTorch eager one message at a time, and padded to 120 tokens as the textbook recipe classifies. The
shipped model: beside scikit-learn's word and character TF-IDF with a linear SVM, the same with logistic regression, and
counts of words with naive Bayes; the collection is passed until two seconds are over. Every contestant has a process of
its own, bound to as many CPUs as threads are asked for; they take turns; ratios are taken within a round. Memory is the
most that the process had while it classified, its libraries and model included, what making it took not. Some 25
minutes; a STRIDE of 4 takes 10. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import latency
import numpy as np
from export_speed import make_files
from machine import collection, machine, write_result
from processes import answer, ask, bind, forget_peak, memory, optimum_versions, output_of, spread

BATCH = 32
LEAST_SECONDS = 2.0
"""The small ones classify the collection for so long."""
OURS_INT8, OURS_FP32, OURS_SMALL = "ours 124M int8", "ours 124M fp32", "ours small"
EAGER_PADDED, EAGER = "PyTorch eager, padded to 120", "PyTorch eager"
OPTIMUM_INT8, OPTIMUM_FP32 = "Optimum int8, batches of 32", "Optimum fp32, batches of 32"
OPENVINO = "OpenVINO on Optimum's, batches of 32"
SVM, LOGISTIC, BAYES = "TF-IDF and linear SVM", "TF-IDF and logistic regression", "naive Bayes"
EVERY = {EAGER_PADDED: 12, EAGER: 12, OPTIMUM_FP32: 4, OPENVINO: 4}
"""The slow ones get one of so many messages."""
PAIRS = (
    (OURS_INT8, OPTIMUM_INT8),
    (OURS_INT8, OPENVINO),
    (OURS_INT8, EAGER),
    (OURS_INT8, EAGER_PADDED),
    (OURS_FP32, OPTIMUM_FP32),
    (OURS_FP32, OPENVINO),
    (OURS_FP32, EAGER),
    (OURS_FP32, EAGER_PADDED),
    (OURS_SMALL, SVM),
    (OURS_SMALL, LOGISTIC),
    (OURS_SMALL, BAYES),
)

Figures = dict[str, float]
"""``messages_per_second`` and ``peak_mb`` of one turn."""
Classify = Callable[[Sequence[str]], object]

OPTIMUM = """
import json, sys, time
import torch
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import PreTrainedTokenizerFast
import onnxruntime as ort
here, folder, file, tokenizer_file, data, threads, batch = sys.argv[1:]
sys.path.insert(0, here)
from processes import forget_peak, memory
options = ort.SessionOptions()
options.intra_op_num_threads = int(threads)
model = ORTModelForSequenceClassification.from_pretrained(folder, file_name=file, session_options=options)
tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizer_file, pad_token="<|endoftext|>")
texts = json.loads(open(data).read())
def classify(texts):
    labels = []
    for start in range(0, len(texts), int(batch)):
        inputs = tokenizer(texts[start:start + int(batch)], return_tensors="pt", padding=True, truncation=True,
                           max_length=1024)
        inputs.pop("token_type_ids", None)
        labels += model(**inputs).logits.argmax(-1).tolist()
    return labels
classify(texts[:64])
forget_peak()
start = time.perf_counter()
classify(texts)
speed = len(texts) / (time.perf_counter() - start)
print(json.dumps({"messages_per_second": speed, "peak_mb": memory("VmHWM")}))
"""


def main() -> None:
    """Run the contestants in turn and write ``results/runtime_throughput_THREADS.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path)
    parser.add_argument("--work", type=Path, help="where files are kept and found again; by default nowhere")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, help="the small model; by default the shipped one")
    parser.add_argument("--only", choices=("124m", "small"))
    arguments = parser.parse_args()
    bind(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        contestants = contests(arguments, Path(scratch))
        rounds: list[dict[str, Figures]] = []
        for number in range(arguments.rounds):
            rounds.append({name: run() for name, run in contestants.items()})
            print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    result = {"threads": arguments.threads, "stride": arguments.stride, "rounds": arguments.rounds} | summary(rounds)
    write_result(
        f"runtime_throughput_{arguments.threads}",
        result | machine() | optimum_versions(arguments.optimum_python),
    )
    print(json.dumps(result, indent=1))


def contests(arguments: argparse.Namespace, scratch: Path) -> dict[str, Callable[[], Figures]]:
    """What runs, by name: each call is a turn."""
    from exporter.huggingface import write_tokenizer  # brings PyTorch, which no turn of the others must have in memory

    texts, _ = collection()

    def messages(every: int) -> str:
        path = scratch / f"{every}.json"
        path.write_text(json.dumps(texts[::every]))
        return str(path)

    def turn(name: str, kind: str, model: str = "", every: int = 1, least: float = 0) -> None:
        request = {"kind": kind, "model": model, "data": messages(every * EVERY.get(name, 1)), "least": least}
        found[name] = lambda: ask(__file__, request | {"threads": arguments.threads})

    found: dict[str, Callable[[], Figures]] = {}
    if arguments.only != "small":
        work = arguments.work or scratch
        files = make_files(work, "gpt2", arguments.optimum_python)
        stride = arguments.stride
        turn(OURS_INT8, "ours", str(files["onnxruntime-int8-23"][1]), stride)
        turn(OURS_FP32, "ours", str(files["onnxruntime-fp32-23"][1]), stride)
        turn(EAGER_PADDED, "padded", "gpt2", stride)
        turn(EAGER, "eager", "gpt2", stride)
        if arguments.optimum_python:
            turn(OPENVINO, "openvino", str(files["optimum-fp32"][1]), stride)
            write_tokenizer(scratch, 1024)
            tokenizer = str(scratch / "tokenizer.json")
            for name, file in ((OPTIMUM_INT8, "model_quantized.onnx"), (OPTIMUM_FP32, "model.onnx")):
                data = messages(stride * EVERY.get(name, 1))
                rest = [
                    str(Path(__file__).parent),
                    str(work / "optimum"),
                    file,
                    tokenizer,
                    data,
                    str(arguments.threads),
                    str(BATCH),
                ]
                command = [str(arguments.optimum_python), "-c", OPTIMUM, *rest]
                found[name] = lambda command=command: json.loads(output_of(command))
    if arguments.only != "124m":
        turn(OURS_SMALL, "ours", str(arguments.model or ""), least=LEAST_SECONDS)
        for name in (SVM, LOGISTIC, BAYES):
            turn(name, name, least=LEAST_SECONDS)
    return found


def serve(kind: str, model: str, data: str, threads: int, least: float) -> Figures:
    """A turn: passes until so many seconds are over."""
    texts: list[str] = json.loads(Path(data).read_text())
    classify: Classify = CONTESTANTS[kind](model, threads) if kind in CONTESTANTS else fitted(kind).predict
    classify(texts[:BATCH])
    forget_peak()
    start, passes = time.perf_counter(), 0
    while not passes or time.perf_counter() - start < least:
        classify(texts)
        passes += 1
    speed = passes * len(texts) / (time.perf_counter() - start)
    return {"messages_per_second": speed, "peak_mb": memory("VmHWM")}


def ours(model: str, threads: int) -> Classify:
    """The runtime on a file, or on the shipped model with as many threads as it takes itself."""
    from runtime import SpamClassifier

    return (SpamClassifier(model, threads=threads) if model else SpamClassifier()).predict


def padded(model: str, threads: int) -> Classify:
    """PyTorch a message at a time, padded or cut to 120 tokens."""
    return eager(model, threads, latency.PADDED)


def eager(model: str, threads: int, length: int = 0) -> Classify:
    """PyTorch a message at a time, with no more tokens than it has."""
    from runtime.spec import END_OF_TEXT
    from runtime.tokenizer import encode

    run = latency.eager(model, threads)

    def classify(texts: Sequence[str]) -> list[int]:
        rows = (encode(text, length or 1024)[0] for text in texts)
        return [int(run(np.array([row + [END_OF_TEXT] * (length - len(row))])).argmax()) for row in rows]

    return classify


def openvino(model: str, threads: int) -> Classify:
    """OpenVINO in its own precision for this CPU, in padded batches, with the runtime's tokenizer."""
    from runtime.batching import pad
    from runtime.tokenizer import encode

    run = latency.openvino(model, threads)

    def classify(texts: Sequence[str]) -> list[int]:
        rows = [np.array(encode(text, 1024)[0], np.uint16) for text in texts]
        batches = (pad(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH))
        return [label for batch in batches for label in run(*batch)[0].argmax(-1).tolist()]

    return classify


def fitted(kind: str) -> Any:
    """A scikit-learn pipeline fitted on the collection."""
    texts, labels = collection()
    return pipeline(kind).fit(texts, ["spam" if label else "ham" for label in labels])


def pipeline(kind: str, seed: int = 0) -> Any:
    """A scikit-learn pipeline as people set it up. Logistic regression has C=10: with scikit-learn's own C=1 it misses
    much more spam of so few messages."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    if kind == BAYES:
        return make_pipeline(CountVectorizer(), MultinomialNB())
    if kind == SVM:
        return make_pipeline(words_and_characters(), LinearSVC(random_state=seed))
    return make_pipeline(words_and_characters(), LogisticRegression(C=10, max_iter=1000, random_state=seed))


def words_and_characters() -> Any:
    """TF-IDF of words and pairs of words, and of 2 to 5 characters within words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_union(words, characters)


CONTESTANTS: dict[str, Callable[[str, int], Classify]] = {
    "ours": ours,
    "padded": padded,
    "eager": eager,
    "openvino": openvino,
}


def summary(rounds: Sequence[dict[str, Figures]]) -> dict[str, Any]:
    """Medians over the rounds with their spread, and ratios taken within a round."""
    figures = {
        key: {name: spread([one[name][key] for one in rounds]) for name in rounds[0]}
        for key in ("messages_per_second", "peak_mb")
    }
    ratios = {
        f"{own} / {peer}": spread(
            [one[own]["messages_per_second"] / one[peer]["messages_per_second"] for one in rounds]
        )
        for own, peer in PAIRS
        if own in rounds[0] and peer in rounds[0]
    }
    return figures | {"ratios": ratios}


if __name__ == "__main__" and not answer(serve):
    sys.exit(main())
