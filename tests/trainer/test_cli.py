"""``spam-train`` and ``spam-eval`` run as a user runs them."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import GPT2ForSequenceClassification

from runtime.tokenizer import encode
from trainer.checkpoint import load_checkpoint
from trainer.recipe import make_recipe, read_recipe

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "messages.tsv"
BIN = Path(sys.executable).parent
QUICK = ["--data", str(SAMPLE), "--model", "nano", "--epochs", "2", "--device", "cpu"]


def command(
    name: str, *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / name), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=os.environ | environment
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert all(word in last for word in words), last
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("run") / "checkpoint"
    done = command("spam-train", *QUICK, "--out", out, "--target-fpr", 0.01)
    assert done.returncode == 0, done.stderr
    return out, done


def test_a_run_leaves_all_that_belongs_to_a_checkpoint(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = trained
    assert {path.name for path in out.iterdir()} == {
        "config.json", "model.safetensors", "wide.safetensors", "metrics.json", "recipe.toml", "README.md",
        "errors.tsv", "test.tsv", "validation.tsv", "plots",
    }  # fmt: skip
    plots = {"loss_accuracy", "confusion_matrix", "roc_precision_recall", "calibration", "score_histogram"}
    assert {path.stem for path in (out / "plots").iterdir()} == plots
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (out / "plots").iterdir())
    assert [path.name for path in out.parent.iterdir()] == ["checkpoint"]  # no state, no scratch
    assert "accuracy" in done.stdout
    assert "epoch 2 of 2: validation loss" in done.stderr
    assert "--target-fpr 0.01: with only 26 ham to choose from" in done.stderr


def test_metrics_are_what_the_model_does(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = trained
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"count", "accuracy", "precision", "recall", "f1", "roc_auc"} <= metrics["test"].keys()
    assert metrics["unused_ham"].keys() >= {"count", "false_positive_rate"}
    model = load_checkpoint(out)
    assert model.spec.threshold == metrics["threshold"] != 0.5
    lines = (out / "test.tsv").read_text().splitlines()
    assert len(lines) == metrics["test"]["count"]
    right = 0
    for line in lines:
        label, text = line.split("\t", 1)
        with torch.no_grad():
            logits = model(torch.tensor([encode(text.replace("\\\\", "\\"), 1024)[0]]))
        score = torch.softmax(logits / model.spec.temperature, 1)[0, 1].item()
        right += (score >= model.spec.threshold) == (label == "spam")
    assert right / len(lines) == pytest.approx(metrics["test"]["accuracy"])
    wrong = (out / "errors.tsv").read_text().splitlines()[1:]
    assert sum(line.startswith("test\t") for line in wrong) == len(lines) - right


@torch.no_grad()
def test_transformers_loads_the_checkpoint_with_the_transformers_logits(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, _ = trained
    ids = torch.tensor([encode("WIN a prize now", 1024)[0]])
    theirs, ours = GPT2ForSequenceClassification.from_pretrained(out).eval(), load_checkpoint(out)
    assert not torch.allclose(ours(ids), theirs(ids).logits, atol=1e-3)
    ours.wide = None
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=0)


def test_the_saved_recipe_makes_the_same_model_again(
    trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out, _ = trained
    done = command("spam-train", "--config", out / "recipe.toml", "--device", "cpu", "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "wide.safetensors", "metrics.json", "config.json", "errors.tsv"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name


def test_several_files_are_one_set_of_messages(tmp_path: Path) -> None:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "ham.tsv").write_text("".join(line for line in lines if line.startswith("ham")), encoding="utf-8")
    (tmp_path / "spam.tsv").write_text("".join(line for line in lines if line.startswith("spam")), encoding="utf-8")
    data = ["--data", tmp_path / "ham.tsv", "--data", tmp_path / "spam.tsv"]
    done = command("spam-train", *QUICK[2:], *data, "--epochs", 1, "--out", tmp_path / "checkpoint")
    assert done.returncode == 0, done.stderr
    assert f"ham.tsv, {tmp_path / 'spam.tsv'}: 520 messages, 260 spam" in done.stderr
    assert read_recipe(tmp_path / "checkpoint" / "recipe.toml")["data"] == list(map(str, data[1::2]))
    (tmp_path / "spam.tsv").write_text("junk\tbuy\n", encoding="utf-8")
    refused(command("spam-train", *QUICK[2:], *data, "--out", tmp_path / "no"), "no message is labelled 'spam'")


def test_several_processes_make_one_checkpoint(
    trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out, done = trained
    arguments = ["--standalone", "--nproc-per-node", 2, BIN / "spam-train", *QUICK, "--out", tmp_path / "checkpoint"]
    both = command("torchrun", *arguments, "--target-fpr", 0.01, OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    assert both.returncode == 0, both.stderr[-2000:]
    assert both.stdout.count("accuracy") == done.stdout.count("accuracy"), "one of the processes tells of the result"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert {path.name for path in (tmp_path / "checkpoint").iterdir()} == {path.name for path in out.iterdir()}
    alone, together = (json.loads((path / "metrics.json").read_text()) for path in (out, tmp_path / "checkpoint"))
    assert together["test"]["count"] == alone["test"]["count"]
    assert together["test"]["accuracy"] == pytest.approx(alone["test"]["accuracy"], abs=0.1)


def test_runs_killed_at_random_moments_resume_to_the_same_weights(tmp_path: Path) -> None:
    """`KILLS=50 pytest -k killed` for a long one."""
    recipe = [*QUICK, "--epochs", "6"]
    whole = command("spam-train", *recipe, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    draw = random.Random(os.environ.get("KILLS"))
    for _ in range(int(os.environ.get("KILLS", "3"))):
        process = subprocess.Popen(
            [BIN / "spam-train", *recipe, "--out", tmp_path / "killed", "--resume"],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(draw.uniform(2, 9))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = command("spam-train", *recipe, "--out", tmp_path / "killed", "--resume")
    assert done.returncode == 0, done.stderr
    hashes = {
        hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest() for name in ("whole", "killed")
    }
    assert len(hashes) == 1


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(
    trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out = tmp_path / "checkpoint"
    shutil.copytree(trained[0], out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    # no file may grow beyond 1 MB: to a program that is a disk that is full in the middle of a file
    done = subprocess.run(
        [BIN / "spam-train", *QUICK, "--out", out], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )  # fmt: skip
    refused(done, "cannot write", "File too large")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_ctrl_c_leaves_no_checkpoint_but_a_run_to_resume(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [BIN / "spam-train", *QUICK, "--epochs", "500", "--out", tmp_path / "checkpoint"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1 "):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in rest
    assert not (tmp_path / "checkpoint").exists()
    assert all(path.name.startswith(".checkpoint.state") for path in tmp_path.iterdir())


def test_files_of_others_in_a_replaced_checkpoint_are_kept(
    trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out = tmp_path / "checkpoint"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    shutil.copy(trained[0] / "wide.safetensors", out)
    assert command("spam-train", *QUICK, "--epochs", 1, "--wide", 0, "--out", out).returncode == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "model.safetensors").is_file()
    # one of ours, and this model has none
    assert not (out / "wide.safetensors").exists() and load_checkpoint(out).wide is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere.tsv"], ["nowhere.tsv", "no such file"]),
        (["--model", "gpt5"], ["--model", "gpt5"]),
        (["--epochs", "0"], ["--epochs 0"]),
        (["--epochs", "x"], ["--epochs"]),
        (["--wide", "1000"], ["--wide 1000: must be 0, or at least 65536"]),
        (["--no-such-flag"], ["--no-such-flag"]),
        (["--device", "cuda"], ["--device cuda"]),
        (["--device", "toaster"], ["--device 'toaster'"]),
        (["--weights", "nowhere"], ["no weights at nowhere"]),
        (["--weights", "pretrained"], ["--model nano has no pretrained weights"]),
        (["--set", "clipp=1"], ["--set clipp=1", "clip"]),
        (["--set", "clip=much"], ["--set clip=much", "number"]),
        (["--config", "nowhere.toml"], ["nowhere.toml"]),
        (["--spam-label", "junk"], ["'junk'", "--spam-label"]),
        (["--cache-gb", "-1"], ["--cache-gb"]),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    if arguments == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    done = command("spam-train", *QUICK, "--out", "checkpoint", *arguments, cwd=tmp_path)
    refused(done, *words)
    assert not list(tmp_path.iterdir())


def test_what_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(command("spam-train", *QUICK, "--out", tmp_path / "file"), "it is a file")
    (tmp_path / "config.json").write_text('{"another": "program"}')
    refused(command("spam-train", *QUICK, "--out", tmp_path), "another program's config.json")
    assert (tmp_path / "config.json").read_text() == '{"another": "program"}'


def test_a_place_that_cannot_be_written_is_named_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    done = command("spam-train", *QUICK, "--out", tmp_path / "blocked" / "checkpoint")
    refused(done, "cannot write", "blocked")
    assert "epoch" not in done.stderr


def test_without_its_extra_the_command_says_which_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['torch'] = None; from trainer.cli import main; main()"
    finder = (
        "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'torch' else f(n, *a); "
    )
    done = subprocess.run([sys.executable, "-c", finder + hidden], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "spam-train: needs packages that are not installed (torch): pip install 'spam-edge[train]'"
    )


def test_help_explains_every_flag() -> None:
    shown = command("spam-train", "--help", COLUMNS="200").stdout
    for name in (*read_recipe_fields(), "out", "config", "resume", "device", "cache_gb", "set"):
        assert f"--{name.replace('_', '-')} " in shown or f"  {name}: " in shown
    assert shown.count("\n  --") <= 27, "so many flags nobody reads"


def read_recipe_fields() -> list[str]:
    return list(vars(make_recipe()))


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_published_table_is_one(recipe: Path) -> None:
    stated = read_recipe(recipe)
    assert make_recipe(recipe, **{}).model == stated.get("model", "gpt2")


def test_a_checkpoint_says_what_kinds_of_messages_it_is_for(tmp_path: Path) -> None:
    rows = [
        {"label": label, "text": f"{text} {number}", "channel": ("sms", "chat")[number % 2]}
        for number in range(20)
        for label, text in (("spam", "WIN a prize"), ("ham", "see you at"))
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--data", tmp_path / "m.jsonl", "--model", "nano", "--epochs", "1", "--device", "cpu"]
    done = command("spam-train", *arguments, "--set", "groups=none", "--wide", "0", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "out").spec.channels == ("chat", "sms")
    assert "Kinds of messages: chat, sms." in (tmp_path / "out" / "README.md").read_text()
