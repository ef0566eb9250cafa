"""From text to labels, messages a second: the runtime beside what a user would pick instead.

    python benchmarks/runtime_throughput.py --optimum-python OTHER/bin/python [--stride 1] [--rounds 3] [--threads 2]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`. The messages are every STRIDE-th of the
SMS Spam Collection, in file order. 124M (random weights, speed does not depend on them): the files of `spam-export
--target onnxruntime --opset 23` through `SpamClassifier`, Optimum's int8 file through transformers' tokenizer in padded
batches of 32, and PyTorch eager one message at a time padded to 120 tokens, as the textbook recipe classifies (on fewer
messages, it is slow). The shipped model: beside scikit-learn's word and character TF-IDF with a linear SVM. Every
contestant has a process of its own, bound to as many CPUs as threads are asked for; they take turns; ratios are taken
within a round. Some 20 minutes; a STRIDE of 4 takes 5.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from export_speed import make_files
from machine import collection, machine, write_result
from processes import bind, output_of

BATCH = 32
PADDED = 120
TORCH_EVERY = 12
"""PyTorch eager gets one of so many messages."""

OPTIMUM = """
import json, sys, time
import torch
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import PreTrainedTokenizerFast
import onnxruntime as ort
folder, tokenizer_file, data, threads, batch = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = int(threads)
model = ORTModelForSequenceClassification.from_pretrained(
    folder, file_name="model_quantized.onnx", session_options=options)
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
start = time.perf_counter()
classify(texts)
print(json.dumps(len(texts) / (time.perf_counter() - start)))
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
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child(*arguments.child)))
        return
    bind(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        contestants = contests(arguments, Path(scratch))
        rounds: list[dict[str, float]] = []
        for number in range(arguments.rounds):
            rounds.append({name: run() for name, run in contestants.items()})
            print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    result = machine() | summary(rounds, arguments)
    write_result(f"runtime_throughput_{arguments.threads}", result)
    print(json.dumps(result["messages_per_second"], indent=1), json.dumps(result["ratios"], indent=1))


def contests(arguments: argparse.Namespace, scratch: Path) -> dict[str, Callable[[], float]]:
    """What runs, by name: each call gives messages a second."""
    texts, _ = collection()
    data = scratch / "texts.json"
    every = scratch / "all.json"
    data.write_text(json.dumps(texts[:: arguments.stride]))
    every.write_text(json.dumps(texts))
    found: dict[str, Callable[[], float]] = {}
    if arguments.only != "small":
        work = arguments.work or scratch
        files = make_files(work, "gpt2", arguments.optimum_python)
        ours = str(files["onnxruntime-int8-23"][1])
        found["ours 124M int8"] = lambda: in_a_process("ours", ours, str(data))
        exact = str(files["onnxruntime-fp32-23"][1])
        found["ours 124M fp32"] = lambda: in_a_process("ours", exact, str(data))
        found["PyTorch eager, padded to 120"] = lambda: in_a_process("torch", str(data))
        if arguments.optimum_python:
            tokenizer = str(write_tokenizer(scratch / "tokenizer.json"))
            command = [
                str(arguments.optimum_python), "-c", OPTIMUM, str(work / "optimum"), tokenizer, str(data),
                str(arguments.threads), str(BATCH),
            ]  # fmt: skip
            found["Optimum int8, batches of 32"] = lambda: float(output_of(command))
    if arguments.only != "124m":
        small = str(arguments.model or "")
        found["ours small"] = lambda: in_a_process("ours", small, str(every))
        found["TF-IDF and linear SVM"] = lambda: in_a_process("svm", str(every))
    return found


def in_a_process(*arguments: str) -> float:
    """`child` in a new process."""
    return float(output_of([sys.executable, __file__, "--child", *arguments]))


def child(kind: str, *arguments: str) -> float:
    """Messages a second of one contestant, warmed up."""
    texts: list[str] = json.loads(Path(arguments[-1]).read_text())
    if kind == "ours":
        from runtime import SpamClassifier

        classify: Callable[[Sequence[str]], object] = SpamClassifier(arguments[0] or None).predict
    elif kind == "torch":
        classify, texts = eager(), texts[::TORCH_EVERY]
    else:
        classify = svm(texts)
    classify(texts[:64] if kind != "torch" else texts[:2])
    start = time.perf_counter()
    classify(texts)
    return len(texts) / (time.perf_counter() - start)


def eager() -> Callable[[Sequence[str]], object]:
    """transformers' GPT-2 in PyTorch, a message at a time, padded or cut to 120 tokens."""
    import torch
    from transformers import GPT2Config, GPT2ForSequenceClassification

    from runtime.tokenizer import encode

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = GPT2ForSequenceClassification(GPT2Config(num_labels=2, pad_token_id=-1)).eval()

    def classify(texts: Sequence[str]) -> list[int]:
        labels = []
        for text in texts:
            ids = encode(text, PADDED)[0]
            row = torch.tensor([ids + [50256] * (PADDED - len(ids))])
            with torch.no_grad():
                labels.append(
                    int(model.transformer(row).last_hidden_state[:, -1].matmul(model.score.weight.T).argmax())
                )
        return labels

    return classify


def svm(texts: Sequence[str]) -> Callable[[Sequence[str]], object]:
    """Words and characters, as people set it up; fitted on the collection."""
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    labels = ["spam" if label else "ham" for label in collection()[1]]
    return make_pipeline(words_and_characters(), LinearSVC()).fit(texts, labels).predict


def words_and_characters() -> Any:
    """TF-IDF of words and pairs of words, and of 2 to 5 characters within words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_union(words, characters)


def write_tokenizer(path: Path) -> Path:
    """GPT-2's tokenizer in Hugging Face's own file form, from the shipped vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode

    from runtime.tokenizer import SPLIT_PATTERN, VOCABULARY

    converter = TikTokenConverter(vocab_file=str(VOCABULARY), pattern=SPLIT_PATTERN)
    vocabulary, merges = converter.extract_vocab_merges_from_model(str(VOCABULARY))
    assert len(bytes_to_unicode()) == 256
    tokenizer = Tokenizer(models.BPE(vocab={**vocabulary, "<|endoftext|>": 50256}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(path))
    return path


def summary(rounds: list[dict[str, float]], arguments: argparse.Namespace) -> dict[str, object]:
    """Medians over the rounds, and ratios with their spread."""
    pairs = [
        ("ours 124M int8", "Optimum int8, batches of 32"),
        ("ours 124M int8", "PyTorch eager, padded to 120"),
        ("ours 124M fp32", "PyTorch eager, padded to 120"),
        ("ours small", "TF-IDF and linear SVM"),
    ]
    ratios = {}
    for ours, theirs in pairs:
        if ours in rounds[0] and theirs in rounds[0]:
            values = sorted(one[ours] / one[theirs] for one in rounds)
            ratios[f"{ours} / {theirs}"] = {
                "median": round(statistics.median(values), 2),
                "least": round(values[0], 2),
                "most": round(values[-1], 2),
            }
    return {
        "threads": arguments.threads,
        "stride": arguments.stride,
        "rounds": len(rounds),
        "messages_per_second": {n: round(statistics.median(one[n] for one in rounds), 1) for n in rounds[0]},
        "ratios": ratios,
    }


if __name__ == "__main__":
    main()
