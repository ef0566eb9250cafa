import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runtime import ModelError, SpamClassifier
from runtime.model_file import find_model, open_model, seal, unsealed
from runtime.spec import SCHEMA_VERSION, ClassifierSpec
from tests.runtime.toy_model import toy_model, write_toy_model


def written(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def with_external_data(location: str) -> onnx.ModelProto:
    model = toy_model()
    weight = next(w for w in model.graph.initializer if w.name == "by_id")
    length = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    return model


def with_prop(key: str, value: str) -> onnx.ModelProto:
    model = toy_model()
    helper.set_model_props(model, ClassifierSpec().to_props() | {f"spam_edge.{key}": value})
    return model


def renamed_input() -> onnx.ModelProto:
    model = toy_model()
    for value in model.graph.input:
        value.name = value.name.replace("attention_mask", "mask_")
    for node in model.graph.node:
        node.input[:] = [name.replace("attention_mask", "mask_") for name in node.input]
    return model


def renamed_output() -> onnx.ModelProto:
    model = toy_model()
    model.graph.output[0].name = model.graph.node[-1].output[0] = "last_hidden_state"
    return model


def newer_ir() -> onnx.ModelProto:
    model = toy_model()
    model.ir_version = 99
    return model


def unknown_operator() -> onnx.ModelProto:
    model = toy_model()
    model.graph.node[0].op_type = "Gathering"
    return model


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda d: d / "none.onnx", "no such model"),
    "folder": (lambda d: d, "not a file"),
    "text": (lambda d: (d / "m").write_text("hello") and d / "m", "not an ONNX file"),
    "empty": (lambda d: (d / "m").touch() or d / "m", "not an ONNX file"),
    "cut short": (
        lambda d: (d / "m").write_bytes(toy_model().SerializeToString()[:-1000]) and d / "m",
        "not an ONNX file, or one that is cut short",
    ),
    "no metadata": (
        lambda d: written(d / "m", toy_model(props=False)),
        "no spam-edge metadata: make it with spam-export",
    ),
    "other inputs": (lambda d: written(d / "m", renamed_input()), "not a spam-edge model: its inputs are"),
    "other outputs": (
        lambda d: written(d / "m", renamed_output()),
        "not a spam-edge model: its outputs are last_hidden",
    ),
    "other labels": (
        lambda d: written(d / "m", toy_model(ClassifierSpec(labels=("ham", "spam", "news")))),
        "its logits have 2 columns, but its metadata has 3 labels",
    ),
    "newer opset": (lambda d: written(d / "m", toy_model(opset=99)), "its opset is newer than onnxruntime"),
    "newer IR": (lambda d: written(d / "m", newer_ir()), "its IR is newer than onnxruntime"),
    "unknown operator": (lambda d: written(d / "m", unknown_operator()), "cannot load it: .*Gathering"),
    "newer schema": (
        lambda d: written(d / "m", with_prop("schema_version", str(SCHEMA_VERSION + 1))),
        "install a newer spam-edge",
    ),
    "metadata not JSON": (lambda d: written(d / "m", with_prop("labels", "[ham")), "metadata is not JSON"),
    "metadata nested": (lambda d: written(d / "m", with_prop("labels", "[" * 100_000)), "not usable|not JSON"),
    "metadata not UTF-8": (
        lambda d: (d / "m").write_bytes(toy_model().SerializeToString().replace(b'"ham"', b'"h\xffm"')) and d / "m",
        "text in it is not UTF-8",
    ),
    "operator not UTF-8": (
        lambda d: (d / "m").write_bytes(toy_model().SerializeToString().replace(b"Gather", b"G\xffther")) and d / "m",
        "text in it is not UTF-8",
    ),
    "an endless context": (
        lambda d: written(d / "m", with_prop("context_length", "1e400")),
        "description is not usable",
    ),
    "metadata of another type": (lambda d: written(d / "m", with_prop("labels", "5")), "description is not usable"),
    "external data missing": (
        lambda d: written(d / "m", with_external_data("weights.bin")),
        "its weights are in a second file, which is missing",
    ),
    "external data above": (
        lambda d: ((d / "w.bin").touch(), (d / "in").mkdir(), written(d / "in" / "m", with_external_data("../w.bin")))[
            -1
        ],
        "refused: it wants external data from outside its own folder",
    ),
    "external data absolute": (
        lambda d: written(d / "m", with_external_data("/etc/passwd")),
        "refused: it wants external data from outside its own folder",
    ),
    "external data linked": (
        lambda d: ((d / "w.bin").symlink_to("/etc/passwd"), written(d / "m", with_external_data("w.bin")))[-1],
        "refused: it wants external data from outside its own folder",
    ),
    "external data cut short": (
        lambda d: ((d / "w.bin").write_bytes(b"0"), written(d / "m", with_external_data("w.bin")))[-1],
        "its external data is cut short",
    ),
}


@pytest.mark.parametrize(("make", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_a_model_that_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], Path], complaint: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(ModelError, match=complaint) as caught:
        SpamClassifier(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_weights_may_be_in_a_second_file(tmp_path: Path, classifier: SpamClassifier) -> None:
    onnx.save(toy_model(), str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data")
    assert (tmp_path / "m.data").is_file()
    assert (
        SpamClassifier(tmp_path / "m.onnx").predict_proba(["hi"]).tolist() == classifier.predict_proba(["hi"]).tolist()
    )


def test_a_sealed_file_is_still_onnx_and_is_served(tmp_path: Path, classifier: SpamClassifier) -> None:
    path = write_toy_model(tmp_path / "m.onnx")
    seal(path)
    onnx.checker.check_model(str(path))
    assert len(json.loads({p.key: p.value for p in onnx.load(str(path)).metadata_props}["spam_edge.file_sha256"])) == 64
    assert SpamClassifier(path).verdict("hi") == classifier.verdict("hi")


def test_a_seal_comes_off_again(tmp_path: Path) -> None:
    path = write_toy_model(tmp_path / "m.onnx")
    before = path.read_bytes()
    seal(path)
    assert unsealed(path.read_bytes()) == unsealed(before) == before


def test_any_damage_to_a_sealed_file_is_noticed(tmp_path: Path) -> None:
    path = write_toy_model(tmp_path / "m.onnx")
    seal(path)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for at in random.integers(0, len(whole) - 120, 20):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :])
        with pytest.raises(ModelError, match="damaged, or changed since its export"):
            SpamClassifier(path)
    for end in random.integers(0, len(whole) - 120, 5):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            SpamClassifier(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_model_is_said(tmp_path: Path) -> None:
    path = write_toy_model(tmp_path / "m.onnx")
    path.chmod(0)
    with pytest.raises(ModelError, match="Permission denied"):
        SpamClassifier(path)


def test_a_provider_that_is_not_there_is_said(model: Path) -> None:
    with pytest.raises(ModelError, match=r"has no NoSuchProvider, only .*CPUExecutionProvider"):
        SpamClassifier(model, providers=["NoSuchProvider"])


def test_a_provider_may_have_options(model: Path, classifier: SpamClassifier) -> None:
    other = SpamClassifier(model, providers=[("CPUExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"})])
    assert other.verdict("hi") == classifier.verdict("hi")


def test_the_model_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPAM_EDGE_MODEL", raising=False)
    monkeypatch.setattr("runtime.model_file.SHIPPED", tmp_path / "shipped" / "nano.onnx")
    with pytest.raises(ModelError, match="ships no model"):
        find_model(tmp_path)
    with pytest.raises(ModelError, match="ships no model"):
        SpamClassifier()
    (tmp_path / "shipped").mkdir()
    shipped = write_toy_model(tmp_path / "shipped" / "nano.onnx")
    assert find_model(tmp_path) == shipped
    assert SpamClassifier().path == shipped
    (tmp_path / "artifacts").mkdir()
    local = write_toy_model(tmp_path / "artifacts" / "spam.onnx")
    assert find_model(tmp_path) == local
    monkeypatch.setenv("SPAM_EDGE_MODEL", "named.onnx")
    assert find_model(tmp_path) == Path("named.onnx")


def test_threads_are_as_many_as_asked_for(model: Path) -> None:
    code = (
        "import os, sys; from runtime.model_file import open_model; from pathlib import Path\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "kept = open_model(Path(sys.argv[1]), threads=5)\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not list threads in /proc")
    assert subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True).stdout == "4\n"


def test_nothing_reports_home(model: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    code = "import sys; from runtime import SpamClassifier; SpamClassifier(sys.argv[1], threads=1).predict(['hello'])"
    subprocess.run([sys.executable, "-c", code, model], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_open_model_gives_the_description_of_the_file(tmp_path: Path) -> None:
    spec = ClassifierSpec(
        threshold=0.7, temperature=1.5, base_model="nano", test_metrics={"f1": 0.9}, channels=("sms", "chat")
    )
    assert open_model(write_toy_model(tmp_path / "m.onnx", spec))[1] == spec


def test_a_file_from_before_there_were_channels_says_none(tmp_path: Path) -> None:
    path, old = tmp_path / "m.onnx", toy_model()
    old.metadata_props.remove(next(entry for entry in old.metadata_props if entry.key == "spam_edge.channels"))
    onnx.save(old, str(path))
    assert open_model(path)[1].channels == ()
