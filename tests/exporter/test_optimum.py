"""The Hugging Face folder in Optimum.

Run where ``$SPAM_EDGE_OPTIMUM_PYTHON`` names the Python of an environment with
``pip install optimum-onnx[onnxruntime]``, which needs another version of transformers than the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from exporter.export import Options
from exporter.huggingface import MODELS, export_folder
from runtime import SpamClassifier
from runtime.spec import ClassifierSpec
from tests.exporter.models import make_model, saved

PYTHON = os.environ.get("SPAM_EDGE_OPTIMUM_PYTHON")

LOAD = """
import json, sys
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline
folder, *names = sys.argv[1:]
texts = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
answers = {}
for name in names:
    which = {} if name == "model.onnx" else {"subfolder": "onnx", "file_name": name}
    model = ORTModelForSequenceClassification.from_pretrained(folder, **which)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    labels = [answer["label"] for answer in classify(texts, truncation=True)]
    answers[name] = {"logits": model(**batch).logits.tolist(), "labels": labels}
print(json.dumps(answers))
"""
TEXTS = ["hello world", "win a prize, call 0800", "naïve café 日本語 👩‍👩‍👧", "word " * 1500, "a", "don't\n\n  do it\t"]


@pytest.mark.skipif(not PYTHON, reason="SPAM_EDGE_OPTIMUM_PYTHON does not name a Python that has Optimum")
def test_optimum_loads_the_folder_and_gives_the_runtimes_logits(tmp_path: Path) -> None:
    # a threshold that no message of this untrained model is near
    model = make_model(ClassifierSpec(threshold=0.99))
    folder = tmp_path / "classifier"
    export_folder(saved(model, tmp_path / "checkpoint"), folder, Options())
    names = [name for _, name in MODELS]
    result = subprocess.run(
        [str(PYTHON), "-c", LOAD, str(folder), *names],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.strip().splitlines()[-1])
    for name in names:
        expected = SpamClassifier(folder / "onnx" / name).logits(TEXTS)
        np.testing.assert_allclose(answers[name]["logits"], expected, atol=2e-5)
        assert answers[name]["labels"] == [("ham", "spam")[column] for column in expected.argmax(1)]
