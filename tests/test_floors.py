"""From a labelled file to verdicts through all three floors, for every way of training."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.export import Options, export
from runtime import SpamClassifier
from trainer.checkpoint import load_checkpoint
from trainer.data import tokenize
from trainer.evaluation.labelled import read_messages
from trainer.gpt2 import SHAPES, GPT2Config
from trainer.pipeline import classify, train_classifier
from trainer.recipe import Recipe, make_recipe

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

COMBINATIONS: list[dict[str, object]] = [
    {"readout": "last", "trainable": trainable, "padding": padding, "balance": "undersample"}
    for trainable, padding in product(("head", "last-block", "all", "lora"), ("batch", "longest"))
] + [
    {"readout": "first", "trainable": "head", "padding": "longest", "balance": "none", "fold": "none"},
    {"readout": "first", "trainable": "last-block", "padding": "batch", "balance": "undersample"},
    {"readout": "first", "trainable": "lora", "padding": "batch", "balance": "weights"},
    {"readout": "last", "trainable": "last-block", "padding": "context", "balance": "weights"},
    {"readout": "last", "trainable": "all", "padding": "batch", "balance": "none"},
    {"readout": "last", "trainable": "all", "padding": "batch", "balance": "weights", "batch_size": 1, "accumulate": 8},
]


@pytest.fixture(scope="module", autouse=True)
def small_nano() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHAPES, "nano", GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=256))
        yield


@pytest.fixture(scope="module")
def few_messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = (ROOT / "examples" / "messages.tsv").read_text(encoding="utf-8").splitlines()
    path = tmp_path_factory.mktemp("data") / "few.tsv"
    path.write_text("\n".join(sorted(lines, key=len)[100:180]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, few_messages: Path, small_nano: None) -> Path:
    """A checkpoint to start from."""
    out = tmp_path_factory.mktemp("start") / "checkpoint"
    train_classifier(recipe(few_messages, trainable="all", weights="random", spelling=True), out, device="cpu")
    return out


def recipe(data: Path, **stated: object) -> Recipe:
    return make_recipe(**{"model": "nano", "data": str(data), "epochs": 1, "spelling": False, **stated})


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda values: "-".join(map(str, values.values())))
def test_every_way_of_training_is_served_as_it_was_trained(
    tmp_path: Path, few_messages: Path, start: Path, combination: dict[str, object]
) -> None:
    checkpoint, file = tmp_path / "checkpoint", tmp_path / "spam.onnx"
    train_classifier(
        recipe(few_messages, weights=str(start), token_dropout=0.0, **combination), checkpoint, device="cpu"
    )
    export(checkpoint, file, Options())
    model = load_checkpoint(checkpoint)
    messages, _ = read_messages(few_messages)
    disguised = ["Your \u0440\u0430\u0443\u0440\u0430\u04cf is on hold", "f\u200br\u200be\u200be \U0001d424", "\u200b"]
    texts = [*messages.texts, "", "word " * 400, *disguised]
    expected = classify(model, tokenize(texts, model.spec)).numpy()
    with SpamClassifier(file) as classifier:
        np.testing.assert_allclose(classifier.logits(texts), expected, atol=1e-5)
        alone = np.concatenate([classifier.logits([text]) for text in texts[::9]])
        np.testing.assert_allclose(alone, expected[::9], atol=1e-5)
        scores = torch.softmax(torch.from_numpy(expected) / model.spec.temperature, 1)[:, 1]
        called = ["spam" if score >= model.spec.threshold else "ham" for score in scores]
        assert classifier.predict(texts) == called


def test_the_commands_go_from_a_file_to_verdicts(tmp_path: Path, sms_collection: Path) -> None:
    """On real messages, as a user runs them, with the default places."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command, *rest = map(str, arguments)
        done = subprocess.run([str(BIN / command), *rest], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done

    run("spam-train", "--data", sms_collection, "--model", "nano", "--epochs", 4, "--set", "groups=none")
    run("spam-export", "--opset", 17)
    artifacts = tmp_path / "artifacts"
    metrics = json.loads((artifacts / "checkpoint" / "metrics.json").read_text())
    assert metrics["test"]["count"] == 300
    assert metrics["test"]["accuracy"] > 0.9
    assert metrics["unused_ham"]["count"] == 4080
    messages, _ = read_messages(sms_collection)
    (tmp_path / "inbox.txt").write_text("\n".join(messages.texts[:500]) + "\n", encoding="utf-8")
    served = [json.loads(line) for line in run("spam-infer", "inbox.txt", "--format", "jsonl").stdout.splitlines()]
    assert [verdict["text"] for verdict in served] == list(messages.texts[:500])
    model = load_checkpoint(artifacts / "checkpoint")
    logits = classify(model, tokenize(messages.texts[:500], model.spec))
    scores = torch.softmax(logits / model.spec.temperature, 1)[:, 1].tolist()
    assert [verdict["score"] for verdict in served] == pytest.approx(scores, abs=1e-5)
    held_out, _ = read_messages(artifacts / "checkpoint" / "test.tsv")
    spam = [text for text, label in zip(held_out.texts, held_out.labels, strict=True) if label]
    classifier = SpamClassifier(artifacts / "spam.onnx")
    for between, least in ((" ", 0.5), ("\u200b", 0.8)):
        evasion = [" ".join(between.join(word) if len(word) > 4 else word for word in text.split()) for text in spam]
        assert classifier.predict(evasion).count("spam") > least * len(spam)
    judged = run("spam-eval", "artifacts/spam.onnx", sms_collection, "--out", "report")
    assert "accuracy" in judged.stdout
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert report["all"]["count"] == 5574
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"metrics.json", "errors.tsv", "plots"}
