"""From a checkpoint to one verified file and its report."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
import torch

from exporter import verify
from exporter.errors import ExportError
from exporter.fused import FusedGraph, FusedInt8Graph
from exporter.graph import Gpt2Graph, Weights
from exporter.quantize import Int8Graph
from exporter.sample import SAMPLE
from runtime.cpus import usable_cpus
from runtime.errors import ModelError
from runtime.files import written_beside
from runtime.model_file import OrtError, open_model, seal
from runtime.spec import ClassifierSpec, Precision
from trainer.checkpoint import Classifier, load_checkpoint
from trainer.data import Messages, read_messages, read_split
from trainer.gpt2 import GPT2Config
from trainer.pretrained import WEIGHTS_FILE

log = logging.getLogger(__name__)

OLDEST_OPSET = 17
"""The first opset with LayerNormalization."""


Target = Literal["portable", "onnxruntime"]

GRAPHS: dict[tuple[Target, Precision], type[Gpt2Graph]] = {
    ("portable", "fp32"): Gpt2Graph,
    ("portable", "int8"): Int8Graph,
    ("onnxruntime", "fp32"): FusedGraph,
    ("onnxruntime", "int8"): FusedInt8Graph,
}


@dataclass(frozen=True)
class Options:
    """What kind of file is asked for."""

    opset: int = OLDEST_OPSET
    precision: Precision = "fp32"
    target: Target = "portable"
    """``portable``: standard operators only; ``onnxruntime``: its own where they are faster."""

    @property
    def graph(self) -> type[Gpt2Graph]:
        """What builds such a file."""
        return GRAPHS[self.target, self.precision]


@dataclass(frozen=True)
class Report:
    """What was exported, and the proof; ``NAME.report.json`` holds it as JSON."""

    file: str
    sha256: str
    bytes: int
    checkpoint_sha256: str
    checkpoint_bytes: int
    opset: int
    precision: str
    target: str
    operators: dict[str, int]
    """Nodes of each kind."""
    checks: list[verify.Check]
    verified_on: str
    """Where the labelled messages come from, and how many they are."""
    milliseconds: dict[str, dict[str, float]]
    """Median time of PyTorch and of the file for each workload ``batch x length``, on this machine."""
    threads: int
    versions: dict[str, str]

    def to_json(self) -> str:
        """The report as indented JSON."""
        values = dataclasses.asdict(self)
        values["checks"] = [dataclasses.asdict(check) | {"passed": check.passed} for check in self.checks]
        return json.dumps(values, indent=2) + "\n"


def export(checkpoint: Path, out: Path, options: Options, verify_data: Path | None = None) -> Report:
    """Write the graph of a checkpoint to ``out`` and its report beside it, once it has passed verification.

    Args:
        checkpoint: Directory that spam-train wrote.
        out: The file to make; ``NAME.report.json`` goes beside ``NAME.onnx``.
        options: Opset and number format.
        verify_data: Labelled messages on which verdicts and accuracy are compared; by default the checkpoint's own test
            set where it has one, else messages that come with this package.

    Raises:
        ExportError: The options cannot be had, or verification failed; nothing is written then.
        TrainerError, InputError, OutputError: The checkpoint or the data cannot be read, or the file not be written.
    """
    check_opset(options)
    torch.set_num_threads(usable_cpus())
    log.info("reading %s", checkpoint)
    model = load_checkpoint(checkpoint)
    config = model.config
    digest = sha256(checkpoint / WEIGHTS_FILE)
    spec = dataclasses.replace(model.spec, precision=options.precision, checkpoint_sha256=digest)
    messages, source = labelled_messages(checkpoint, spec, verify_data)
    log.info("computing reference logits with PyTorch")
    judge = verify.measure(verify.torch_model(model), config, spec, messages)
    weights = release(model)
    del model
    with written_beside(out) as scratch, written_beside(report_path(out)) as report_scratch:
        log.info("building the graph")
        operators = write_graph(config, weights, spec, options, scratch)
        log.info("verifying %s with onnxruntime", out)
        report = Report(
            file=out.name,
            sha256=sha256(scratch),
            bytes=scratch.stat().st_size,
            checkpoint_sha256=digest,
            checkpoint_bytes=(checkpoint / WEIGHTS_FILE).stat().st_size,
            opset=options.opset,
            precision=options.precision,
            target=options.target,
            operators=operators,
            checks=[],
            verified_on=f"{source}, {len(messages)} messages",
            milliseconds={},
            threads=usable_cpus(),
            versions={name: importlib.metadata.version(name) for name in ("spam-edge", "torch", "onnx", "onnxruntime")},
        )
        report = verified(report, scratch, config, spec, judge, messages)
        report_scratch.write_text(report.to_json(), encoding="utf-8")
    return report


def report_path(out: Path) -> Path:
    """``NAME.report.json`` beside ``NAME.onnx``."""
    return out.with_name(f"{out.name.removesuffix('.onnx')}.report.json")


def release(model: Classifier) -> dict[str, verify.Floats]:
    """The checkpoint's tensors by name, as arrays that share their memory."""
    return {name.removeprefix("transformer."): tensor.numpy() for name, tensor in model.state_dict().items()}


def write_graph(
    config: GPT2Config, weights: Weights, spec: ClassifierSpec, options: Options, path: Path
) -> dict[str, int]:
    """Build the graph, write it, and have it checked; how many nodes of each kind it has."""
    model = options.graph(config, weights, options.opset).build(spec)
    operators = collections.Counter(node.op_type for node in model.graph.node)
    onnx.save(model, path)
    del model
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"the graph does not pass onnx's checker: {error}") from error
    seal(path)
    return dict(sorted(operators.items()))


def verified(
    report: Report,
    path: Path,
    config: GPT2Config,
    spec: ClassifierSpec,
    judge: verify.Measured,
    messages: Messages,
) -> Report:
    """The report with the figures of the file in it. Raises ``ExportError`` where one is beyond its limit."""
    try:
        session, _ = open_model(path)
    except ModelError as error:
        raise ExportError(str(error)) from error
    model = verify.session_model(session)
    file = verify.measure(model, config, spec, messages)
    some = [verify.row_of(text, spec) for text in messages.texts[:32]]
    variance = verify.variance_over_batches(model, config, spec.context_length, some)
    checks = verify.compare(judge, file, variance, spec, messages, spec.precision)
    for check in checks:
        if not check.passed:
            raise ExportError(
                f"verification failed, no file is written: {check.name} is {check.value:.3g}, at most "
                f"{check.limit:.3g} is allowed"
            )
    times = {"pytorch": judge.milliseconds, "file": file.milliseconds}
    return dataclasses.replace(report, checks=checks, milliseconds=times)


def labelled_messages(checkpoint: Path, spec: ClassifierSpec, path: Path | None) -> tuple[Messages, str]:
    """The messages that verdicts are compared on, label 1 for spam, and where they come from."""
    if path is not None:
        return read_messages(path, spam_label=spec.spam_label)[0], str(path)
    own = checkpoint / "test.tsv"
    if own.is_file():
        messages = read_split(own, spec.labels)
        spam = tuple(int(label == spec.spam_index) for label in messages.labels)
        return Messages(messages.texts, spam), "the checkpoint's test set"
    texts, labels = zip(*SAMPLE, strict=True)
    return Messages(texts, labels), "messages of this package"


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_opset(options: Options) -> None:
    """Raise ``ExportError`` with the range where the installed onnx and onnxruntime do not both have this opset."""
    opset, known = options.opset, onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= known or not runs(options):
        newest = next(opset for opset in range(known, 0, -1) if runs(dataclasses.replace(options, opset=opset)))
        raise ExportError(
            f"opset {opset} is not one of {OLDEST_OPSET} to {newest}, which onnx {onnx.__version__} and onnxruntime "
            f"{ort.__version__} both have"
        )


def runs(options: Options) -> bool:
    """Whether onnxruntime runs a small classifier of this kind."""
    config = GPT2Config(n_layer=2, n_embd=4, n_head=2, n_positions=2, vocab_size=2)
    model = Classifier(config, ClassifierSpec())
    model.initialize(0)
    graph = options.graph(config, release(model), options.opset).build(model.spec)
    session_options = ort.SessionOptions()
    session_options.log_severity_level = 4
    session_options.intra_op_num_threads = 1
    ids = np.zeros((1, 2), np.int64)
    try:
        session = ort.InferenceSession(graph.SerializeToString(), session_options, providers=["CPUExecutionProvider"])
        session.run(None, {"input_ids": ids, "attention_mask": ids + 1})
    except OrtError:
        return False
    return True
