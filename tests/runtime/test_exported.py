"""What spam-export writes, served: the same bits alone and in any batch, by every provider."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime import SpamClassifier
from runtime.spec import ClassifierSpec

exporting = pytest.importorskip("exporter.export")
TEXTS = ["WIN a prize now", "see you at six", "", "word " * 300, "Ünïcödé \U0001f600", "ok", "free entry " * 40]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from trainer.checkpoint import Classifier
    from trainer.gpt2 import SHAPES

    spec = ClassifierSpec(base_model="nano", precision=request.param)
    model = Classifier(SHAPES["nano"], spec).eval()
    model.initialize(3)
    path = tmp_path_factory.mktemp("exported") / f"{request.param}.onnx"
    options = exporting.Options(precision=request.param)
    exporting.write_graph(model.config, exporting.release(model), spec, options, path)
    return path


def test_a_message_has_the_same_logits_alone_in_batches_and_with_any_threads(exported: Path) -> None:
    classifier = SpamClassifier(exported)
    alone = np.concatenate([classifier.logits([text]) for text in TEXTS])
    assert np.isfinite(alone).all()
    tolerance = 0 if "int8" in exported.name else 1e-5
    for texts, order in ((TEXTS * 3, [*range(7)] * 3), (TEXTS[::-1], [*range(7)][::-1])):
        for options in ({"threads": 1}, {"threads": 3}, {"max_batch_tokens": 5000}):
            got = SpamClassifier(exported, **options).logits(texts)
            np.testing.assert_allclose(got, alone[order], rtol=0, atol=tolerance)


OPENVINO = """
import sys, numpy
from runtime import SpamClassifier
texts = ["WIN a prize now", "see you at six", "", "free entry " * 40]
ours, theirs = (SpamClassifier(sys.argv[1], providers=[name + "ExecutionProvider"]) for name in ("CPU", "OpenVINO"))
numpy.testing.assert_allclose(theirs.logits(texts), ours.logits(texts), atol=1e-4)
print(theirs._session.get_providers()[0])
"""


def test_openvino_gives_the_same_logits_where_it_is_installed(exported: Path) -> None:
    """SPAM_EDGE_OPENVINO_PYTHON: of an environment with onnxruntime-openvino in onnxruntime's place."""
    python = os.environ.get("SPAM_EDGE_OPENVINO_PYTHON", sys.executable)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    listing = [python, "-c", "import onnxruntime; print(onnxruntime.get_available_providers())"]
    if "OpenVINOExecutionProvider" not in subprocess.run(listing, capture_output=True, text=True).stdout:
        pytest.skip(
            "there is no onnxruntime-openvino: name the Python of an environment that has it in a variable, "
            "SPAM_EDGE_OPENVINO_PYTHON"
        )
    done = subprocess.run([python, "-c", OPENVINO, exported], capture_output=True, text=True, env=environment)
    assert done.stdout == "OpenVINOExecutionProvider\n", done.stderr
