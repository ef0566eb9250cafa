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
from onnx import helper

from exporter import verify
from exporter.builder import write_model
from exporter.errors import ExportError
from exporter.fused import FusedGraph, FusedInt8Graph
from exporter.graph import Gpt2Graph, Weights
from exporter.quantize import Int8Graph
from exporter.sample import SAMPLE
from exporter.text import add_tokenizer, refuse_fold
from runtime.batching import pad
from runtime.cpus import usable_cpus
from runtime.encoding import encode_message
from runtime.errors import ModelError
from runtime.files import check_writable, written_beside
from runtime.model_file import OrtError, open_model, seal
from runtime.spec import ClassifierSpec, Precision
from trainer.checkpoint import Classifier, load_checkpoint, read_config
from trainer.evaluation.labelled import Messages, read_messages, read_split
from trainer.gpt2 import GPT2Config
from trainer.pretrained import WEIGHTS_FILE
from trainer.wide import Wide

log = logging.getLogger(__name__)

OLDEST_OPSET = 17
"""The first opset with LayerNormalization."""


LARGEST_FILE = 2**31 - 2**24
"""A protobuf, which an ONNX file is, holds at most 2 GiB; some of it is not weights."""

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
    """``portable``: standard operators only; ``onnxruntime``: what onnxruntime runs fastest, its own among them."""
    text: bool = False
    """Whether the graph takes strings, tokenized by onnxruntime-extensions."""
    largest_file: int = LARGEST_FILE
    """Weights of more bytes than this go into ``NAME.onnx.data``."""

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
    takes: str
    """The graph's input: ids or text."""
    external_data: dict[str, str | int] | None
    """Name, bytes and SHA-256 of the file with the weights, where they do not fit into the ONNX file."""
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
    if options.text:
        refuse_fold(read_config(checkpoint)[1], "--text")
    check_opset(options)
    check_writable(out)
    if options.text:
        extensions_library()
    torch.set_num_threads(usable_cpus())
    log.info("reading %s", checkpoint)
    model = load_checkpoint(checkpoint)
    config = model.config
    digest = sha256(checkpoint / WEIGHTS_FILE)
    spec = dataclasses.replace(model.spec, precision=options.precision, checkpoint_sha256=digest)
    messages, source = labelled_messages(checkpoint, spec, verify_data)
    log.info("computing reference logits with PyTorch")
    judge = verify.measure(verify.torch_model(model), config, spec, messages)
    weights, wide = release(model), model.wide
    del model
    with written_beside(report_path(out)) as report_scratch, written_beside(out) as scratch:
        log.info("building the graph")
        operators = write_graph(config, weights, spec, options, scratch, wide)
        del weights
        log.info("verifying %s with onnxruntime", out)
        session = opened(scratch)
        file, checks = verified(session, config, spec, judge, messages)
        if options.text:
            log.info("adding the tokenizer")
            operators = put_tokenizer(scratch, spec)
            checks.append(text_check(scratch, session, spec, messages))
        failed(checks)
        data = data_path(scratch)
        report = Report(
            file=out.name,
            sha256=sha256(scratch),
            bytes=scratch.stat().st_size,
            checkpoint_sha256=digest,
            checkpoint_bytes=(checkpoint / WEIGHTS_FILE).stat().st_size,
            opset=options.opset,
            precision=options.precision,
            target=options.target,
            takes="text" if options.text else "ids",
            external_data=described(data) if data.exists() else None,
            operators=operators,
            checks=checks,
            verified_on=f"{source}, {len(messages)} messages",
            milliseconds={"pytorch": judge.milliseconds, "file": file.milliseconds},
            threads=usable_cpus(),
            versions={name: importlib.metadata.version(name) for name in ("spam-edge", "torch", "onnx", "onnxruntime")},
        )
        report_scratch.write_text(report.to_json(), encoding="utf-8")
        del session
        if data.exists():
            data.replace(data_path(out))
        else:
            data_path(out).unlink(missing_ok=True)  # of a former file
    return report


def data_path(out: Path) -> Path:
    """``NAME.onnx.data`` beside ``NAME.onnx``: weights that do not fit into the ONNX file."""
    return out.with_name(f"{out.name}.data")


def described(path: Path) -> dict[str, str | int]:
    """Name, bytes and SHA-256 of a file."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def report_path(out: Path) -> Path:
    """``NAME.report.json`` beside ``NAME.onnx``."""
    return out.with_name(f"{out.name.removesuffix('.onnx')}.report.json")


def release(model: Classifier) -> dict[str, verify.Floats]:
    """The transformer's tensors by name, as arrays that share their memory."""
    return {name.removeprefix("transformer."): tensor.numpy() for name, tensor in model.last_token_tensors().items()}


def write_graph(
    config: GPT2Config, weights: Weights, spec: ClassifierSpec, options: Options, path: Path, wide: Wide | None = None
) -> dict[str, int]:
    """Build the graph, write it, and have it checked; how many nodes of each kind it has.

    ``weights`` is emptied on the way, so that they need not be in memory twice.
    """
    model = options.graph(config, weights, options.opset).build(spec, wide)
    operators = counted(model)
    large = sum(len(constant.raw_data) for constant in model.graph.initializer) > options.largest_file
    if large:
        data = data_path(path).name
        onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=1024)
    else:
        write_model(model, path)
    del model
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"the graph does not pass onnx's checker: {error}") from error
    seal(path)
    return operators


def counted(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes of each kind."""
    return dict(sorted(collections.Counter(node.op_type for node in model.graph.node).items()))


def opened(path: Path) -> ort.InferenceSession:
    """The file as the runtime opens it."""
    try:
        return open_model(path)[0]
    except ModelError as error:
        raise ExportError(str(error)) from error


def verified(
    session: ort.InferenceSession,
    config: GPT2Config,
    spec: ClassifierSpec,
    judge: verify.Measured,
    messages: Messages,
) -> tuple[verify.Measured, list[verify.Check]]:
    """What the file answers, and how that compares with PyTorch."""
    model = verify.session_model(session)
    file = verify.measure(model, config, spec, messages)
    some = [encode_message(text, spec).rows[0] for text in messages.texts[:32]]
    variance = verify.variance_over_batches(model, config, spec.context_length, some)
    return file, verify.compare(judge, file, variance, spec, messages, spec.precision)


def failed(checks: list[verify.Check]) -> None:
    """Raise ``ExportError`` where a figure is beyond its limit."""
    for check in checks:
        if not check.passed:
            raise ExportError(
                f"verification failed, no file is written: {check.name} is {check.value:.3g}, at most "
                f"{check.limit:.3g} is allowed"
            )


def put_tokenizer(path: Path, spec: ClassifierSpec) -> dict[str, int]:
    """Have a finished file take strings; how many nodes of each kind it has then."""
    model = onnx.load(path, load_external_data=False)
    add_tokenizer(model, spec)
    helper.set_model_props(model, spec.to_props())  # the former file's seal goes
    write_model(model, path)
    seal(path)
    return counted(model)


def text_check(path: Path, ids_session: ort.InferenceSession, spec: ClassifierSpec, messages: Messages) -> verify.Check:
    """How the logits of strings compare with the logits of the ids that the runtime makes of them."""
    session = text_session(path)
    texts = list(messages.texts[:100]) + list(verify.HARD_TEXTS)
    model = verify.session_model(ids_session)
    expected = [model(*pad(encode_message(text, spec).rows))[0] for text in texts]
    alone = [session.run(["logits"], {"text": np.array([text], object)})[0][0] for text in texts]
    together = session.run(["logits"], {"text": np.array(texts, object)})[0]
    worst = max(verify.difference(expected, alone), verify.difference(expected, together))
    name = "largest difference of a logit between text and the runtime's ids"
    return verify.Check(name, worst, verify.INVARIANCE_LIMIT[spec.precision])


def text_session(path: Path) -> ort.InferenceSession:
    """A file that takes strings, opened."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.register_custom_ops_library(extensions_library())
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def extensions_library() -> str:
    """Path of onnxruntime-extensions' operators. Raises ``ExportError`` where they are not installed."""
    try:
        from onnxruntime_extensions import get_library_path
    except ModuleNotFoundError as error:
        raise ExportError("--text needs onnxruntime-extensions: pip install 'spam-edge[text]'") from error
    path: str = get_library_path()
    return path


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
