"""The files in JavaScript's runtimes.

Run where node is, and in ``node_modules`` or ``$SPAM_EDGE_NODE_MODULES`` what
``npm install onnxruntime-web onnxruntime-node @huggingface/transformers`` brings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import numpy as np
import onnxruntime as ort
import pytest

from exporter.export import Options, Target, release, write_graph
from exporter.huggingface import write_tokenizer
from runtime.spec import Precision
from runtime.tokenizer import encode
from tests.exporter.models import torch_logits
from trainer.checkpoint import Classifier, save_model

MODULES = Path(os.environ.get("SPAM_EDGE_NODE_MODULES", Path(__file__).parents[2] / "node_modules"))

RUN = """
import fs from 'fs';
const [, entry, file] = process.argv;
const ort = (await import(entry)).default ?? (await import(entry));
if (ort.env?.wasm) ort.env.wasm.numThreads = 1;
const { shape, ids, mask } = JSON.parse(fs.readFileSync(0));
const session = await ort.InferenceSession.create(fs.readFileSync(file));
const tensor = (values) => new ort.Tensor('int64', BigInt64Array.from(values.map(BigInt)), shape);
const { logits } = await session.run({ input_ids: tensor(ids), attention_mask: tensor(mask) });
console.log(JSON.stringify(Array.from(logits.data)));
"""

PIPELINE = """
const [, entry, parent, name] = process.argv;
const { env, PreTrainedModel, AutoTokenizer } = await import(entry);
env.allowRemoteModels = false;
env.localModelPath = parent;
const tokenizer = await AutoTokenizer.from_pretrained(name);
const answers = [];
for (const dtype of ['fp32', 'q8']) {
    const model = await PreTrainedModel.from_pretrained(name, { dtype });
    const batch = tokenizer(['hello world', 'win a prize, call 0800'], { padding: true });
    answers.push(Array.from((await model(batch)).logits.data));
}
console.log(JSON.stringify(answers));
"""


def entry(package: str, *files: str) -> Path:
    """The file that node imports for a package; the test is skipped where there is none."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    for file in files:
        if (MODULES / package / file).is_file():
            return MODULES / package / file
    pytest.skip(f"npm's {package} is not in {MODULES}")


def node(script: str, *arguments: object, stdin: str = "") -> object:
    command = ["node", "--input-type=module", "-e", script, "--", *map(str, arguments)]
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("target", get_args(Target))
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("package", "files"),
    [("onnxruntime-web", ("dist/ort.node.min.mjs",)), ("onnxruntime-node", ("dist/index.js",))],
)
def test_javascript_gives_the_same_logits(
    short_model: Classifier,
    tmp_path: Path,
    package: str,
    files: tuple[str, ...],
    precision: Precision,
    target: Target,
) -> None:
    path, options = tmp_path / "model.onnx", Options(precision=precision, target=target)
    write_graph(short_model.config, release(short_model), short_model.spec, options, path)
    feeds, _ = torch_logits(short_model, [3, 200, 9, 1])
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    batch = {"shape": ids.shape, "ids": ids.ravel().tolist(), "mask": mask.ravel().tolist()}
    answer = node(RUN, entry(package, *files), path, stdin=json.dumps(batch))
    expected = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    np.testing.assert_allclose(
        np.array(answer).reshape(expected.shape), expected, atol=2e-5 if precision == "fp32" else 0.05
    )


def test_transformers_js_loads_the_hugging_face_folder(short_model: Classifier, tmp_path: Path) -> None:
    module = entry("@huggingface/transformers", "dist/transformers.node.mjs")
    folder = tmp_path / "classifier"
    (folder / "onnx").mkdir(parents=True)
    save_model(folder, short_model, short_model.spec)
    write_tokenizer(folder, short_model.spec.context_length)
    for precision, name in (("fp32", "model.onnx"), ("int8", "model_quantized.onnx")):
        options = Options(precision=precision)
        write_graph(short_model.config, release(short_model), short_model.spec, options, folder / "onnx" / name)
    answers = node(PIPELINE, module, f"{tmp_path}/", folder.name)
    for name, answer in zip(("model.onnx", "model_quantized.onnx"), answers, strict=True):
        session = ort.InferenceSession(folder / "onnx" / name, providers=["CPUExecutionProvider"])
        for text, logits in zip(["hello world", "win a prize, call 0800"], np.reshape(answer, (2, -1)), strict=True):
            ids = np.array([encode(text)[0]])
            expected = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
            np.testing.assert_allclose(logits, expected, atol=0.05 if "quantized" in name else 2e-5)
