"""spam-export run as a user runs it: what it leaves, and what it says when it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from runtime.model_file import open_model
from runtime.spec import ClassifierSpec
from runtime.tokenizer import encode
from tests.exporter.models import make_model, saved


def spam_export(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from exporter.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2
    assert not result.stdout
    last = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert last.startswith("spam-export: ")
    for word in words:
        assert word in last


def test_it_leaves_a_verified_file_and_its_report(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "artifacts" / "spam.onnx"
    result = spam_export("--checkpoint", checkpoint, "--out", out)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in out.parent.iterdir()) == ["spam.onnx", "spam.report.json"]
    assert "verified" in result.stdout and "operators" in result.stdout
    report = json.loads((out.parent / "spam.report.json").read_text())
    assert report["opset"] == 17
    assert report["bytes"] == out.stat().st_size
    assert all(check["passed"] for check in report["checks"])
    assert set(report["milliseconds"]["file"]) == {"1 x 16", "1 x 120", "32 x 16"}
    _, spec = open_model(out)
    assert spec.precision == "fp32"
    assert spec.checkpoint_sha256 == report["checkpoint_sha256"]


def test_verdicts_are_compared_on_the_data_that_is_given(checkpoint: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.tsv"
    data.write_text("ham\tsee you at noon\nspam\twin a prize\n" * 3)
    result = spam_export(
        "--checkpoint", checkpoint, "--out", tmp_path / "spam.onnx", "--verify-data", data, "--opset", 20
    )
    assert result.returncode == 0, result.stderr
    assert "6 messages" in result.stdout
    assert onnx.load(tmp_path / "spam.onnx").opset_import[0].version == 20


def test_int8_is_smaller_and_gives_a_message_the_same_bits_in_any_batch(tmp_path: Path) -> None:
    # a threshold that no message of this untrained model is near
    checkpoint = saved(make_model(ClassifierSpec(threshold=0.99)), tmp_path / "checkpoint")
    out = tmp_path / "spam.onnx"
    result = spam_export("--checkpoint", checkpoint, "--out", out, "--precision", "int8", "--target", "onnxruntime")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "spam.report.json").read_text())
    assert report["bytes"] < 0.4 * report["checkpoint_bytes"]
    by_name = {check["name"]: check["value"] for check in report["checks"]}
    assert by_name["largest difference of a logit alone and in a batch"] == 0
    assert open_model(out)[1].precision == "int8"


def test_int8_that_changes_verdicts_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    result = spam_export("--checkpoint", checkpoint, "--out", tmp_path / "spam.onnx", "--precision", "int8")
    refused(result, "verification failed, no file is written", "verdicts changed")
    assert not list(tmp_path.iterdir())


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    refused(spam_export("--checkpoint", tmp_path / "none"), "no checkpoint at", "spam-train")


def test_an_opset_out_of_range_is_refused_with_the_range(checkpoint: Path, tmp_path: Path) -> None:
    for opset in (16, 99):
        result = spam_export("--checkpoint", checkpoint, "--out", tmp_path / "spam.onnx", "--opset", opset)
        refused(result, f"opset {opset}", "17 to ")
    assert not list(tmp_path.iterdir())


def test_a_wrong_flag_is_one_line(checkpoint: Path) -> None:
    refused(spam_export("--checkpoint", checkpoint, "--precision", "int3"), "int3")
    refused(spam_export("--checkpoint", checkpoint, "--out", "spam.txt"), ".onnx")


def test_missing_verification_data_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    result = spam_export(
        "--checkpoint", checkpoint, "--out", tmp_path / "spam.onnx", "--verify-data", tmp_path / "no.tsv"
    )
    refused(result, "no.tsv")
    assert not list(tmp_path.iterdir())


def test_broken_weights_are_one_line(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(spam_export("--checkpoint", broken, "--out", tmp_path / "spam.onnx"), "model.safetensors")
    assert not (tmp_path / "spam.onnx").exists()


def test_a_base_install_says_which_extra_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    hide = "import sys; sys.modules['onnx'] = None; from exporter.cli import main; main()"
    command = [sys.executable, "-c", hide, "--checkpoint", str(checkpoint), "--out", str(tmp_path / "spam.onnx")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    refused(result, "pip install 'spam-edge[export]'")


def test_the_hugging_face_folder_has_all_that_transformers_reads(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    # a threshold that no message of this untrained model is near
    checkpoint = saved(make_model(ClassifierSpec(threshold=0.99)), tmp_path / "checkpoint")
    result = spam_export("--checkpoint", checkpoint, "--out", tmp_path / "spam.onnx", "--layout", "huggingface")
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "spam"
    assert open_model(folder / "onnx" / "model.onnx")[1].precision == "fp32"
    assert open_model(folder / "onnx" / "model_quantized.onnx")[1].precision == "int8"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ("hello world", "don't 日本語", "  blanks\n"):
        assert tokenizer(text).input_ids == encode(text)[0]
    assert transformers.AutoConfig.from_pretrained(folder).id2label == {0: "ham", 1: "spam"}


@pytest.mark.parametrize("flags", [["--text"], ["--layout", "huggingface"]], ids=" ".join)
def test_a_fold_that_a_tokenizer_cannot_do_is_refused_before_any_work(tmp_path: Path, flags: list[str]) -> None:
    checkpoint = saved(make_model(ClassifierSpec(fold="reader-1")), tmp_path / "checkpoint")
    (checkpoint / "model.safetensors").write_bytes(b"these are not read")
    refused(
        spam_export("--checkpoint", checkpoint, "--out", tmp_path / "spam.onnx", "--opset", 99, *flags),
        flags[0], "reader-1", "spam-train --fold none",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_place_that_cannot_be_written_is_named_before_the_work(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    (tmp_path / "folder.onnx").mkdir()
    for out, words in (("blocked/spam.onnx", "cannot write"), ("folder.onnx", "it is a folder")):
        result = spam_export("--checkpoint", checkpoint, "--out", tmp_path / out)
        refused(result, words, out)
        assert "computing" not in result.stderr
