"""The graph gives PyTorch's logits, in several runtimes, and has nothing in it that is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from exporter.builder import write_model
from exporter.export import OLDEST_OPSET, Options, Target, release, runs, write_graph
from exporter.fused import LONG
from exporter.verify import INVARIANCE_LIMIT, session_model, variance_over_batches
from runtime.spec import ClassifierSpec, Precision
from tests.exporter.models import make_model, torch_logits
from trainer.checkpoint import Classifier

KINDS = [
    Options(opset, precision, target)
    for opset in range(OLDEST_OPSET, onnx.defs.onnx_opset_version() + 1)
    for precision in ("fp32", "int8")
    for target in get_args(Target)
    if runs(Options(opset, precision, target))
]
ENDS = [kind for kind in KINDS if kind.target == "portable" and kind.opset in (17, 25)]
NEAR = {"fp32": 2e-5, "int8": 0.3}
BATCHES = [(1,), (2,), (3,), (16,), (120,), (3, 16, 7, 1), (1024,), (5, 1024)]


def graph_of(model: Classifier, options: Options) -> onnx.ModelProto:
    return options.graph(model.config, release(model), options.opset).build(model.spec)


def session_of(graph: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def largest_difference(model: Classifier, session: ort.InferenceSession) -> float:
    differences = []
    for lengths in BATCHES:
        feeds, expected = torch_logits(model, [min(length, model.config.n_positions) for length in lengths])
        differences.append(np.abs(session.run(None, feeds)[0] - expected).max())
    return float(max(differences))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_opset_passes_the_checker_and_gives_pytorchs_logits(short_model: Classifier, kind: Options) -> None:
    model = short_model
    graph = graph_of(model, kind)
    if kind.target == "portable":
        onnx.checker.check_model(graph, full_check=True)
        assert {entry.domain for entry in graph.opset_import} == {""}
    assert graph.opset_import[0].version == kind.opset
    session = session_of(graph)
    assert largest_difference(model, session) < NEAR[kind.precision]
    variance = variance_over_batches(session_model(session), model.config, model.config.n_positions)
    assert variance <= INVARIANCE_LIMIT[kind.precision]


@pytest.mark.parametrize("kind", ENDS, ids=str)
def test_the_reference_evaluator_agrees(model: Classifier, kind: Options) -> None:
    graph = graph_of(model, kind)
    evaluator, session = ReferenceEvaluator(graph), session_of(graph)
    for lengths in [(1,), (3, 9, 1)]:
        feeds, _ = torch_logits(model, lengths)
        np.testing.assert_allclose(evaluator.run(None, feeds)[0], session.run(None, feeds)[0], atol=2e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino_agrees(model: Classifier, precision: Precision, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    graph = graph_of(model, Options(precision=precision))
    onnx.save(graph, tmp_path / "model.onnx")
    compiled = openvino.Core().compile_model(
        tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    session = session_of(graph)
    for lengths in [(1,), (3, 9, 1), (120,)]:
        feeds, _ = torch_logits(model, lengths)
        np.testing.assert_allclose(compiled(feeds)["logits"], session.run(None, feeds)[0], atol=NEAR[precision] / 10)


@pytest.mark.parametrize("target", get_args(Target))
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_whole_context_and_batches_of_it(model: Classifier, precision: Precision, target: Target) -> None:
    session = session_of(graph_of(model, Options(precision=precision, target=target)))
    assert largest_difference(model, session) < NEAR[precision]


@pytest.mark.parametrize("opset", [17, 23])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_long_message_has_the_same_bits_alone_and_padded(model: Classifier, precision: Precision, opset: int) -> None:
    session = session_of(graph_of(model, Options(opset, precision, "onnxruntime")))
    draw = np.random.default_rng(0)
    for length in [LONG - 1, LONG, LONG + 1, *draw.integers(2, 500, 12).tolist()]:
        alone, _ = torch_logits(model, [length])
        expected = session.run(None, alone)[0][0]
        neighbour, padding = draw.integers(1, 600, 2).tolist()
        feeds, _ = torch_logits(model, [length, neighbour], padding)
        feeds["input_ids"][0, :length] = alone["input_ids"][0]
        assert np.array_equal(session.run(None, feeds)[0][0], expected), (length, neighbour, padding)


def test_the_first_token_can_be_read_instead_of_the_last() -> None:
    model = make_model(spec=ClassifierSpec(readout="first"))
    assert largest_difference(model, session_of(graph_of(model, Options()))) < 2e-5


@pytest.mark.parametrize("target", get_args(Target))
def test_head_widths_whose_root_is_no_power_of_two_and_more_labels(target: Target) -> None:
    spec = ClassifierSpec(labels=("ham", "spam", "other"), context_length=64)
    model = make_model(n_embd=36, n_head=3, n_labels=3, n_positions=64, spec=spec)
    assert largest_difference(model, session_of(graph_of(model, Options(target=target)))) < 2e-5


@pytest.mark.parametrize("target", get_args(Target))
def test_a_row_of_zeros_has_no_largest_value_and_int8_gives_its_logits_all_the_same(target: Target) -> None:
    model = make_model(n_positions=64)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".ln_1." in name:
                parameter.zero_()
    kind = Options(precision="int8", target=target)
    assert largest_difference(model, session_of(graph_of(model, kind))) < NEAR["int8"]


def with_branches(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from with_branches(attribute.g)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("target", get_args(Target))
def test_every_node_and_constant_serves_the_logits(model: Classifier, target: Target, precision: Precision) -> None:
    graph = graph_of(model, Options(target=target, precision=precision)).graph
    graphs = list(with_branches(graph))
    nodes = [node for one in graphs for node in one.node]
    used = {name for node in nodes for name in node.input} | {out.name for one in graphs for out in one.output}
    assert all(set(node.output) & used for node in nodes)
    assert {constant.name for constant in graph.initializer} <= used
    assert len({node.name for node in nodes}) == len(nodes)
    assert not any(name.endswith(".attn.c_attn.weight") for name in used if name.startswith("h.2"))


def test_the_file_describes_itself(model: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_graph(model.config, release(model), model.spec, Options(), path)
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert ClassifierSpec.from_props(properties) == model.spec


def test_a_model_written_tensor_by_tensor_reads_back_the_same(model: Classifier, tmp_path: Path) -> None:
    graph = graph_of(model, Options(precision="int8"))
    write_model(graph, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == graph
    assert (tmp_path / "model.onnx").stat().st_size == graph.ByteSize()
