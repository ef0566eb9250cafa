"""A file that does not do what the checkpoint does is not left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter import export as module
from exporter.errors import ExportError
from exporter.export import Options, export
from exporter.graph import Gpt2Graph


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
