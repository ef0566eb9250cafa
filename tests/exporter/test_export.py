"""A file that does not do what the checkpoint does is not left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter import export as module
from exporter.errors import ExportError
from exporter.export import Options, export, sha256, text_session
from exporter.graph import Gpt2Graph
from runtime import SpamClassifier
from runtime.spec import ClassifierSpec
from tests.exporter.models import make_model, saved


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "spam.onnx"


def tamper(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Have the weights changed on their way into the graph."""

    def build(self: Gpt2Graph, *arguments: Any) -> Any:
        name = "h.1.mlp.c_fc.weight"
        self.weights = {**self.weights, name: change(self.weights[name])}
        return original(self, *arguments)

    original = Gpt2Graph.build
    monkeypatch.setattr(module, "check_opset", lambda options: None)
    monkeypatch.setattr(Gpt2Graph, "build", build)


@pytest.mark.parametrize("change", [lambda weight: weight * 1.01, lambda weight: weight * np.nan])
def test_tampered_weights_fail_and_leave_no_file(
    checkpoint: Path, out: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    tamper(monkeypatch, change)
    with pytest.raises(ExportError, match="verification failed, no file is written"):
        export(checkpoint, out, Options())
    assert not list(out.parent.iterdir())


def test_a_failed_export_leaves_the_former_file_as_it_was(
    checkpoint: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.write_bytes(b"former")
    tamper(monkeypatch, lambda weight: weight * 1.01)
    with pytest.raises(ExportError):
        export(checkpoint, out, Options())
    assert out.read_bytes() == b"former"
    assert [path.name for path in out.parent.iterdir()] == ["spam.onnx"]


def test_weights_beyond_the_limit_go_into_a_second_file(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "large.onnx"
    export(checkpoint, out, Options(largest_file=1000))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data", "large.report.json"]
    data = tmp_path / "large.onnx.data"
    report = json.loads((tmp_path / "large.report.json").read_text())
    assert report["external_data"] == {"file": data.name, "bytes": data.stat().st_size, "sha256": sha256(data)}
    assert out.stat().st_size < 0.2 * data.stat().st_size
    assert len(SpamClassifier(out).logits(["hello"])) == 1
    export(checkpoint, out, Options())
    assert not data.exists()
    assert len(SpamClassifier(out).logits(["hello"])) == 1


@pytest.mark.parametrize("spec", [ClassifierSpec(), ClassifierSpec(padding="longest", pad_length=40)], ids=str)
def test_a_graph_that_takes_strings_gives_the_runtimes_logits(tmp_path: Path, spec: ClassifierSpec) -> None:
    pytest.importorskip("onnxruntime_extensions", reason="onnxruntime-extensions is not installed")
    checkpoint = saved(make_model(spec), tmp_path / "checkpoint")
    export(checkpoint, tmp_path / "ids.onnx", Options())
    export(checkpoint, tmp_path / "text.onnx", Options(text=True))
    texts = ["", "hello", "a <|endoftext|> b", "word " * 2000, "日本語 👩‍👩‍👧", "\n \n"]
    session = text_session(tmp_path / "text.onnx")
    assert [(entry.name, entry.type) for entry in session.get_inputs()] == [("text", "tensor(string)")]
    logits = session.run(None, {"text": np.array(texts, object)})[0]
    np.testing.assert_allclose(logits, SpamClassifier(tmp_path / "ids.onnx").logits(texts), atol=1e-5)
    empty = session.run(None, {"text": np.array(["", ""], object)})[0]
    np.testing.assert_allclose(empty, logits[[0, 0]], atol=1e-5)
