"""From a labelled file to a checkpoint: read, balance, split, encode, fine-tune, evaluate, write."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from runtime.files import check_writable, written_beside
from runtime.scores import spam_scores
from runtime.spec import ClassifierSpec
from trainer.augment import altered, disguised, epoch_texts
from trainer.checkpoint import CONFIG_FILE, WIDE_FILE, Classifier, read_config, save_model
from trainer.data import Tokens, channels, data_files, tokenize
from trainer.distill import TEACHER, TEACHERS, bayes_judge, remix, taught, tfidf_judge
from trainer.errors import TrainerError
from trainer.evaluation.labelled import CHANNEL_COLUMN, Messages, Splits, read_dataset, repeats, split, write_split
from trainer.evaluation.metrics import (
    Scored,
    calibration_error,
    fit_temperature,
    headline,
    measure,
    threshold_for,
    threshold_table,
)
from trainer.evaluation.plots import plot_training, write_plots
from trainer.evaluation.protocols import folded
from trainer.evaluation.tables import print_figures, write_errors, write_json
from trainer.fine_tune import Labelled, Outcome, Report, classify_tokens, fine_tune, silent
from trainer.fit_wide import fit_wide, join_paths, wide_logits
from trainer.gpt2 import SHAPES
from trainer.pretrained import starting_model
from trainer.recipe import Recipe, make_recipe, write_recipe
from trainer.report import model_card
from trainer.spelling import add_spelling, merge_spelling
from trainer.wide import Wide

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)


def train_classifier(
    recipe: Recipe, out: Path, *, device: str = "auto", cache_bytes: int = 2 << 30, resume: bool = False
) -> dict[str, Any]:
    """Do all that ``spam-train`` does.

    Args:
        recipe: what to train, on what, and how.
        out: the checkpoint directory; it appears, or replaces an older checkpoint, when all is done.
        device: ``auto``, ``cpu`` or ``cuda``.
        cache_bytes: see `trainer.fine_tune.fine_tune`.
        resume: go on from the state of an interrupted run of the same recipe, if there is one.

    Returns:
        What is in ``metrics.json``.

    Raises:
        SpamEdgeError: something the user can put right; nothing is written then.
    """
    check_out(out)
    accelerator = make_accelerator(device)
    with accelerator.main_process_first():
        paths = data_files(recipe.data)
    dataset = read_dataset(
        *paths, text_column=recipe.text_column, label_column=recipe.label_column, spam_label=recipe.spam_label,
        columns=(CHANNEL_COLUMN,),
    )  # fmt: skip
    messages, labels = dataset.messages, dataset.labels
    splits = split(
        messages, recipe.seed, balance=recipe.balance == "undersample",
        groups=recipe.groups, validation=recipe.validation, test=recipe.test,
    )  # fmt: skip
    context_length = SHAPES[recipe.model].n_positions
    spec = ClassifierSpec(
        labels=labels,
        spam_label=recipe.spam_label,
        context_length=context_length,
        padding=recipe.padding,
        readout=recipe.readout,
        fold=recipe.fold,
        base_model=recipe.model,
        channels=channels(dataset, paths),
        data_fingerprint=messages.fingerprint(),
        pad_length=0 if recipe.padding == "batch" else context_length,
    )
    if recipe.padding == "longest":
        spec = replace(
            spec,
            pad_length=int(tokenize(splits.train.texts, replace(spec, padding="batch", pad_length=0)).lengths.max()),
        )
    log.info(
        "%s: %d messages, %d %s; %d for training, %d for validation, %d for testing, %d %s left out",
        ", ".join(map(str, paths)), len(messages), sum(messages.labels), labels[1],
        len(splits.train), len(splits.validation), len(splits.test), len(splits.unused_ham), labels[0],
    )  # fmt: skip
    state = out.parent / f".{out.name}.state.safetensors"
    if resume and not state.is_file():
        log.info("there is no interrupted run to resume: starting from the beginning")
    with progress_bars(accelerator) as report:
        model, outcome = learn(
            recipe, spec, splits.train, splits.validation,
            accelerator=accelerator, cache_bytes=cache_bytes, state=state, resume=resume, report=report,
        )  # fmt: skip
        metrics: dict[str, Any] = {}
        if accelerator.is_main_process:
            report("test", 0, 1, {})
            held_out = [
                classify(model, tokenize(part.texts, spec), accelerator.device)
                for part in (splits.test, splits.unused_ham)
            ]
            report("test", 1, 1, {})
            logits = Logits(outcome.train_logits, outcome.validation_logits, *held_out)
            metrics = write_checkpoint(out, model, spec, recipe, splits, logits, outcome)
            state.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return metrics


def learn(
    recipe: Recipe,
    spec: ClassifierSpec,
    train: Messages,
    validation: Messages,
    *,
    accelerator: Accelerator,
    cache_bytes: int = 2 << 30,
    state: Path | None = None,
    resume: bool = False,
    report: Report = silent,
) -> tuple[Classifier, Outcome]:
    """A classifier from messages: starting weights, teachers where they are asked for, training, merging.

    Args:
        recipe: how; its data are not read.
        spec: what the classifier is to be.
        train: what it learns from.
        validation: what is measured after every epoch.
        accelerator: as `make_accelerator` gives it.
        cache_bytes, state, resume, report: see `trainer.fine_tune.fine_tune`.

    Returns:
        The model with its trained weights, and how it went.
    """
    config = replace(SHAPES[recipe.model], dropout=recipe.dropout)
    teach = teachers(recipe, spec, train, validation, accelerator, report) if recipe.distill else None
    tokens = tokenize(train.texts, spec)
    wide = fitted_wide(recipe, tokens, train, report) if recipe.wide else None
    model = Classifier(config, spec)
    model.load_state_dict(starting_model(recipe.model, recipe.weights, recipe.seed, config).state_dict())
    if recipe.trainable == "lora":
        from trainer.lora import add_adapters

        torch.manual_seed(recipe.seed)
        add_adapters(model, recipe.lora_rank, recipe.lora_alpha)
    if recipe.spelling:
        add_spelling(model, tokens.ids, recipe.seed)

    def lesson(epoch: int) -> Labelled:
        change = partial(altered, disguise=recipe.disguise)
        texts = epoch_texts(train.texts, epoch, share=recipe.augment, change=change, seed=recipe.seed)
        if not teach:
            return Labelled(tokenize(texts, spec), train.labels)
        remixed, targets = teach(epoch)
        # a judgement is of the words as they stood: these are disguised and not altered otherwise
        disguises = recipe.augment * recipe.disguise
        texts += epoch_texts(remixed, epoch, share=disguises, change=disguised, seed=recipe.seed)
        return Labelled(tokenize(texts, spec), tuple(targets.argmax(1).tolist()), targets)

    changing = lesson if teach or recipe.augment else None
    with one_thread() if accelerator.device.type == "cpu" and config.n_embd <= 128 else nullcontext():
        outcome = fine_tune(
            model,
            Labelled(tokens, train.labels, lesson=changing, lesson_size=len(train) + recipe.distill),
            Labelled(tokenize(validation.texts, spec), validation.labels),
            recipe,
            accelerator=accelerator,
            cache_bytes=cache_bytes,
            state=state,
            resume=resume,
            report=report,
        )
    if recipe.trainable == "lora":
        from trainer.lora import merge_adapters

        merge_adapters(model)
    if recipe.spelling:
        merge_spelling(model)
    if wide:
        outcome = add_wide(model, *wide, tokenize(validation.texts, spec), validation.labels, outcome)
    return model, outcome


def fitted_wide(recipe: Recipe, tokens: Tokens, train: Messages, report: Report) -> tuple[Wide, Tensor]:
    """A wide path fitted to messages, and its logits of them."""
    return fit_wide(
        tokens,
        train.labels,
        train.themes,
        rows=recipe.wide,
        ridge=recipe.wide_ridge,
        report=lambda phase, done, total: report(phase, done, total, {}),
    )


def add_wide(
    model: Classifier, wide: Wide, train_logits: Tensor, tokens: Tokens, labels: Sequence[int], outcome: Outcome
) -> Outcome:
    """Put a wide path beside a trained transformer, each counting for what it is worth on the validation messages.

    Args:
        model: The classifier; its head is scaled in place.
        wide: The wide path.
        train_logits: Its logits of the training messages.
        tokens: Validation messages,
        labels: and their labels.
        outcome: How the transformer's training went, with its own logits.

    Returns:
        The outcome with the logits of both together.
    """
    beside = wide_logits(wide, tokens)
    of_deep, of_wide, offset = join_paths(outcome.validation_logits, beside, labels)
    log.info("the transformer's logits count %.3f, the wide path's %.3f", of_deep, of_wide)
    model.score.weight.data *= of_deep
    wide.config = replace(wide.config, gain=of_wide, offsets=(0.0, offset))
    model.wide = wide
    shift = torch.tensor([0.0, offset])
    return Outcome(
        outcome.history,
        of_deep * outcome.train_logits + of_wide * train_logits + shift,
        of_deep * outcome.validation_logits + of_wide * beside + shift,
    )


def classify(model: Classifier, tokens: Tokens, device: torch.device | str = "cpu") -> Tensor:
    """Logits of messages by a model, its wide path included, float32 (messages, labels) on the CPU, in their order."""
    logits = classify_tokens(model, tokens, device)
    return logits if model.wide is None else logits + wide_logits(model.wide, tokens)


@contextmanager
def one_thread() -> Iterator[None]:
    """For steps so small that they take longer when they are shared among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def teachers(
    recipe: Recipe,
    spec: ClassifierSpec,
    train: Messages,
    validation: Messages,
    accelerator: Accelerator,
    report: Report,
) -> Callable[[int], tuple[list[str], Tensor]]:
    """Train the teachers.

    Returns:
        For an epoch its remixed messages, and what is to be said of the training messages and then of these:
        probabilities of the labels, float32 (messages, 2).
    """
    nano = replace(
        spec,
        padding="batch",
        readout="last",
        pad_length=0,
        context_length=SHAPES["nano"].n_positions,
        base_model="nano",
    )
    models = []
    for number in range(1, TEACHERS + 1):
        name = f"teacher {number}"

        def told(phase: str, done: int, total: int, values: dict[str, float], name: str = name) -> None:
            if phase == "training":
                report(name, done, total, values)

        seed = (recipe.seed + 1000 * number) % 2**31
        teacher = make_recipe(model="nano", balance=recipe.balance, seed=seed, **TEACHER)
        model, _ = learn(teacher, nano, train, validation, accelerator=accelerator, report=told)
        log.info("%s of %d is trained", name, TEACHERS)
        models.append(model)
    linear = [bayes_judge(train), tfidf_judge(train)]

    def teach(epoch: int) -> tuple[list[str], Tensor]:
        remixed = remix(train, recipe.distill, recipe.seed, epoch)
        tokens = tokenize(remixed, nano)
        logits = [classify_tokens(model, tokens, accelerator.device).double().numpy() for model in models]
        small = [one[:, 1] - one[:, 0] for one in logits]
        targets = taught(train.labels, small, [judge(remixed) for judge in linear])
        report("judging", epoch + 1, recipe.epochs, {})
        return remixed, torch.from_numpy(targets)

    return teach


def check_out(out: Path) -> None:
    """Refuse a place that cannot be written, or holds what is no checkpoint. Raises ``SpamEdgeError``."""
    check_writable(out, directory=True)
    if (out / CONFIG_FILE).exists():
        try:
            read_config(out)
        except TrainerError as error:
            raise TrainerError(f"--out {out} holds another program's {CONFIG_FILE}: name another folder") from error


def make_accelerator(device: str) -> Accelerator:
    """The device, and the other processes under torchrun. Raises ``TrainerError`` where the device is not there.

    A program that ends after training calls ``end_training()`` on it, which lets the other processes go.
    """
    from accelerate import Accelerator

    if device not in ("auto", "cpu", "cuda"):
        raise TrainerError(f"--device {device!r}: choose one of auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainerError("--device cuda: there is no CUDA GPU that this torch can use; --device cpu works anywhere")
    if torch.distributed.is_available():
        # Imported later, by the first DistributedDataParallel, its default arguments hold the group of processes for
        # good, and gloo's threads, which are joined when the group goes, meet an interpreter that has ended.
        import_module("torch.distributed.nn")
    accelerator = Accelerator(cpu=device == "cpu")
    log.info(
        "training on %s%s",
        accelerator.device,
        f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else "",
    )
    return accelerator


@contextmanager
def progress_bars(accelerator: Accelerator) -> Iterator[Report]:
    """Bars on stderr, one a phase, with the latest loss and accuracy and the time left; a line an epoch elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    with Progress(
        *columns, console=console, disable=not accelerator.is_main_process or not console.is_terminal
    ) as bars:

        def report(phase: str, done: int, total: int, values: dict[str, float]) -> None:
            if phase == "validation":
                if accelerator.is_main_process:
                    log.info(
                        "epoch %d of %d: validation loss %.4f, accuracy %.2f%%",
                        done,
                        total,
                        values["loss"],
                        100 * values["accuracy"],
                    )
                return
            figures = f"loss {values['loss']:.3f} accuracy {values['accuracy']:.0%}" if values else ""
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total, figures=figures)
            bars.update(tasks[phase], completed=done, figures=figures)

        yield report


@dataclass(frozen=True)
class Logits:
    """float32 (messages, labels) of each of `Splits`."""

    train: Tensor
    validation: Tensor
    test: Tensor
    unused_ham: Tensor


def write_checkpoint(
    out: Path, model: Classifier, spec: ClassifierSpec, recipe: Recipe, splits: Splits, logits: Logits, outcome: Outcome
) -> dict[str, Any]:
    """Evaluate the trained model and write all that belongs to a checkpoint; gives what is in ``metrics.json``."""
    temperature = fit_temperature(logits.validation, splits.validation.labels)

    def scored(messages: Messages, values: Tensor, divisor: float = temperature) -> Scored:
        return Scored(messages.texts, np.array(messages.labels, dtype=np.int64), spam_scores(values, divisor))

    train, validation = scored(splits.train, logits.train), scored(splits.validation, logits.validation)
    test, unused = scored(splits.test, logits.test), scored(splits.unused_ham, logits.unused_ham)
    # half of the unused ham chooses thresholds, the other half and the test set tell what they do
    half = np.arange(len(unused.texts)) % 2 == 0
    choose = np.concatenate([validation.ham(), unused.where(half).ham()])
    rest = unused.where(~half)
    reported = Scored(
        [*test.texts, *rest.texts],
        np.concatenate([test.labels, rest.labels]),
        np.concatenate([test.scores, rest.scores]),
    )
    threshold = recipe.threshold
    if recipe.target_fpr:
        threshold = threshold_for(choose, recipe.target_fpr)
        if len(choose) * recipe.target_fpr < 1:
            log.warning(
                "--target-fpr %g: with only %d ham to choose from the threshold is above all of it, and may miss much "
                "spam; it takes %d",
                recipe.target_fpr, len(choose), math.ceil(1 / recipe.target_fpr),
            )  # fmt: skip
        unused = rest
    exact, near = repeats(splits.test, splits.train), repeats(splits.test, splits.train, folded)
    uncalibrated = scored(splits.test, logits.test, 1.0)
    errors = (calibration_error(uncalibrated.labels, uncalibrated.scores), calibration_error(test.labels, test.scores))
    metrics: dict[str, Any] = {
        "train": measure(train.labels, train.scores, threshold, intervals=False),
        "validation": measure(validation.labels, validation.scores, threshold),
        "test": measure(test.labels, test.scores, threshold),
        "test_without_exact_repeats": measure(test.labels[~exact], test.scores[~exact], threshold),
        "test_without_near_repeats": measure(test.labels[~near], test.scores[~near], threshold),
        "unused_ham": _unused(unused, threshold),
        "threshold": threshold,
        "temperature": temperature,
        "calibration": {"before": errors[0], "after": errors[1]},
        "thresholds": threshold_table(choose, reported),
        "history": {
            "best_epoch": outcome.history.best_epoch + 1,
            "epochs": outcome.history.epochs,
            "steps": outcome.history.steps,
        },
    }
    spec = replace(spec, temperature=temperature, threshold=threshold, test_metrics=headline(metrics["test"]))
    sizes = {
        "train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test),
        "exact": int(exact.sum()), "near": int(near.sum()),
    }  # fmt: skip
    metrics["test"]["exact_repeats"], metrics["test"]["near_repeats"] = sizes["exact"], sizes["near"]
    with written_beside(out, directory=True) as folder:
        save_model(folder, model, spec)
        write_json(folder / "metrics.json", metrics)
        write_recipe(folder / "recipe.toml", recipe)
        write_split(folder / "test.tsv", splits.test, spec.labels)
        write_split(folder / "validation.tsv", splits.validation, spec.labels)
        wrong = write_errors(folder / "errors.tsv", {"validation": validation, "test": test}, spec)
        write_plots(folder / "plots", test, uncalibrated, metrics["test"], spec, errors, "Test set")
        history = outcome.history
        plot_training(folder / "plots" / "loss_accuracy.png", history.steps, history.epochs, history.best_epoch)
        (folder / "README.md").write_text(model_card(recipe, spec, metrics, sizes), encoding="utf-8")
    if model.wide is None:
        (out / WIDE_FILE).unlink(missing_ok=True)  # of a former checkpoint
    message = "%s written; %d misclassified messages are in errors.tsv; %.1f s in training"
    log.info(message, out, wrong, outcome.history.seconds)
    titles = {"test": "test", "test_without_exact_repeats": "without exact repeats", "unused_ham": "unused ham"}
    print_figures({title: metrics[name] for name, title in titles.items()})
    return metrics


def _unused(unused: Scored, threshold: float) -> dict[str, Any]:
    if not unused.texts:
        return {"count": 0, "false_positive_rate": None}
    measured = measure(unused.labels, unused.scores, threshold)
    return {
        "count": measured["count"],
        "false_positive_rate": measured["false_positive_rate"],
        "intervals": {"false_positive_rate": measured["intervals"]["false_positive_rate"]},
    }
