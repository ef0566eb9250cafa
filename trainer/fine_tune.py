"""The training loop: what is frozen runs once a message, what is trained runs on real tokens only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.data import Tokens
from trainer.errors import TrainerError
from trainer.features import FeatureCache, batches_by_length
from trainer.gpt2 import GPT2Classifier, Packing
from trainer.recipe import FROZEN, Recipe
from trainer.state import History, RunState

if TYPE_CHECKING:
    from accelerate import Accelerator

TOKENS_AT_ONCE = 4096
"""Tokens in a batch where nothing is learned, so that only speed and memory depend on it."""
MARGIN = 0.2
"""Weight in the loss of how far the log-odds are from a teacher's: beyond certain, the cross-entropy hardly tells."""

Report = Callable[[str, int, int, dict[str, float]], None]
"""Told the phase, how much of it is done, of how much, and the latest figures."""


def silent(phase: str, done: int, total: int, values: dict[str, float]) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Labelled:
    """Messages as ids, with their labels."""

    tokens: Tokens
    labels: tuple[int, ...]
    targets: Tensor | None = None
    """Probabilities of the labels, float32 (messages, labels), learned in their place; None: the labels are certain."""
    lesson: Callable[[int], Labelled] | None = None
    """What an epoch, from 0, learns in place of this; None: the same in every epoch."""
    lesson_size: int = 0
    """Messages in each lesson; 0: as many as here."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves besides the trained model."""

    history: History
    train_logits: Tensor
    """float32 (messages, labels) of the training messages, by the trained model."""
    validation_logits: Tensor
    """The same of the validation messages."""


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate for step number ``step`` (from 0) of ``steps``."""
    warm = round(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    progress = (step - warm) / max(1, steps - warm)
    falling = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return recipe.learning_rate * falling[recipe.schedule]


def epoch_order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of the messages in an epoch; depends on seed and epoch alone, so that a run can be resumed."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def epoch_groups(recipe: Recipe, epoch: int, lengths: Sequence[int]) -> list[list[int]]:
    """The messages of each step of an epoch; depends on the arguments alone.

    With ``order="length"`` messages of about one length (within a fifth or so) go together, the groups in random order.
    """
    count, size = len(lengths), recipe.batch_size * recipe.accumulate
    if recipe.order == "random":
        order = epoch_order(recipe.seed, epoch, count)
    else:
        draw = np.random.default_rng([recipe.seed, epoch])
        order = np.argsort(np.log(lengths) + draw.uniform(-0.2, 0.2, count), kind="stable").tolist()
    groups = [order[at : at + size] for at in range(0, count, size)]
    if recipe.order == "length":
        draw.shuffle(groups)
    return groups


def class_weights(labels: Sequence[int], n_labels: int) -> Tensor:
    """Weight of each label's loss, inverse to how often it occurs, 1 on average over the messages."""
    counts = torch.bincount(torch.tensor(labels), minlength=n_labels)
    return len(labels) / (n_labels * counts)


class Trained(nn.Module):
    """The trained part of a model as one module, so that several processes can share its gradients."""

    def __init__(self, model: GPT2Classifier, trainable: str, precision: str = "fp32") -> None:
        super().__init__()
        self.model = model
        self.trainable = trainable
        self.precision = precision
        parts: dict[str, list[nn.Module]] = {
            "head": [model.score],
            "last-block": [model.transformer.h[-1], model.transformer.ln_f, model.score],
        }
        self.parts = parts.get(trainable, [model])
        if trainable != "lora":  # there the adapters are what is trained, and they are marked already
            model.requires_grad_(False)
            for part in self.parts:
                part.requires_grad_(True)
        model.eval()

    @property
    def has_frozen_part(self) -> bool:
        """Whether what is trained stands behind blocks that do not change."""
        return self.trainable in FROZEN

    def learning(self, mode: bool) -> None:
        """Switch dropout on or off; what is frozen has none."""
        for part in self.parts:
            part.train(mode)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Matrix products in the precision asked for."""
        return torch.autocast(device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    @torch.no_grad()
    def frozen(self, ids: Tensor, packing: Packing) -> Tensor:
        """Input of the trained part, float32 (tokens, width); where only the head is trained, (batch, width)."""
        transformer = self.model.transformer
        with self.autocast(ids.device):
            x = transformer.before(ids, packing, len(transformer.h) - 1)
            if self.trainable == "head":
                block: Any = transformer.h[-1]
                x = transformer.ln_f(block.at(x, packing.read(self.model.readout), packing))
        return x.float()

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Logits, float32 (batch, labels), from what `frozen` gave, or from ids (tokens,) where nothing is frozen."""
        with self.autocast(x.device):
            if self.trainable == "head":
                logits = self.model.score(x)
            elif self.trainable == "last-block":
                logits = self.model.classify(x, packing)
            else:
                logits = self.model.packed(x, packing)
        return logits.float()


class Source:
    """Input of the trained part, batch by batch, on the device."""

    def __init__(self, trained: Trained, tokens: Tokens, device: torch.device) -> None:
        self.trained, self.device = trained, device
        self.show(tokens)
        self.cache: FeatureCache | None = None
        self.left_out = 0.0  # share of a message's tokens
        self.random = np.random.default_rng()

    def show(self, tokens: Tokens) -> None:
        """Take the messages from here."""
        self.tokens, self.lengths = tokens, tokens.lengths.tolist()

    def _thinned(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Messages with tokens left out at random; those of three tokens or fewer stay whole."""
        message = torch.arange(len(lengths)).repeat_interleave(lengths)
        stays = torch.from_numpy(self.random.random(len(ids)) >= self.left_out) | (lengths <= 3)[message]
        counts = torch.bincount(message[stays], minlength=len(lengths))
        stays |= (counts == 0)[message]
        return ids[stays], torch.bincount(message[stays], minlength=len(lengths))

    def ids(self, indices: Sequence[int]) -> tuple[Tensor, Packing]:
        """Ids of messages (tokens,) and where they lie."""
        ids, lengths = self.tokens.take(indices)
        if self.left_out:
            ids, lengths = self._thinned(ids, lengths)
        return self._moved(ids), Packing.of(lengths.to(self.device))

    def features(self, indices: Sequence[int]) -> Tensor:
        """The frozen part's output for messages."""
        return self.trained.frozen(*self.ids(indices))

    def get(self, indices: Sequence[int]) -> tuple[Tensor, Packing]:
        """Input of the trained part for messages, and where they lie."""
        if self.cache:
            lengths = torch.tensor([self.lengths[index] for index in indices])
            return self._moved(self.cache.take(indices)), Packing.of(lengths.to(self.device))
        ids, packing = self.ids(indices)
        return (self.trained.frozen(ids, packing) if self.trained.has_frozen_part else ids), packing

    def ahead(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[Sequence[int], tuple[Tensor, Packing]]]:
        """Batches with their input, each copied to the device while the one before is computed."""
        following = self.get(batches[0])
        for place, batch in enumerate(batches):
            current = following
            if place + 1 < len(batches):
                following = self.get(batches[place + 1])
            yield batch, current

    def _moved(self, x: Tensor) -> Tensor:
        return x.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else x.to(self.device)


@torch.no_grad()
def predict(trained: Trained, source: Source, indices: range) -> Tensor:
    """Logits of messages, float32 (messages, labels) on the CPU, in their order."""
    logits = torch.empty(len(indices), trained.model.config.n_labels)
    for batch, (x, packing) in source.ahead(batches_by_length(source.lengths, indices, TOKENS_AT_ONCE)):
        logits[[index - indices.start for index in batch]] = trained(x, packing).cpu()
    return logits


def classify_tokens(model: GPT2Classifier, tokens: Tokens, device: torch.device | str = "cpu") -> Tensor:
    """Logits of messages by a transformer in evaluation mode, float32 (messages, labels) on the CPU, in their order.

    A wide path beside it is left out: `trainer.pipeline.classify` takes it in.
    """
    trained = Trained(model, "all").requires_grad_(False)
    if not len(tokens):
        return torch.empty(0, model.config.n_labels)
    return predict(trained, Source(trained, tokens, torch.device(device)), range(len(tokens)))


class FineTuning:
    """One run of a recipe on a model, which is trained in place; `run` does it all."""

    def __init__(
        self, model: GPT2Classifier, train: Labelled, validation: Labelled, recipe: Recipe, accelerator: Accelerator
    ) -> None:
        self.recipe, self.accelerator, self.train, self.validation = recipe, accelerator, train, validation
        torch.manual_seed(recipe.seed)
        self.model = model.to(accelerator.device)
        self.tokens = train.tokens.followed_by(validation.tokens)
        self._take(train)
        self.count = len(train.labels)
        self.learned = train.lesson_size or self.count
        self.weights = torch.ones(model.config.n_labels)
        if recipe.balance == "weights":
            self.weights = class_weights(train.labels, model.config.n_labels)
        self.trained = Trained(model, recipe.trainable, recipe.precision)
        self.source = Source(self.trained, self.tokens, accelerator.device)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            self._parameter_groups(),
            lr=recipe.learning_rate,
            betas=(0.9, recipe.beta2),
            fused=accelerator.device.type in ("cpu", "cuda"),
        )
        module: Any = torch.compile(self.trained, dynamic=True) if recipe.compile else self.trained
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.mean = (
            {name: one.detach().clone() for name, one in self.trained_parameters().items()} if recipe.average else {}
        )
        self.steps = math.ceil(self.learned / (recipe.batch_size * recipe.accumulate)) * recipe.epochs

    def run(self, cache_bytes: int, state: RunState | None, report: Report) -> Outcome:
        """Train; see `fine_tune`."""
        began = time.monotonic()
        if state:
            state.load_into(self)
        with ExitStack() as stack:
            if cache_bytes and self.trained.has_frozen_part:
                stack.enter_context(self._fill(cache_bytes, report))
            for epoch in range(len(self.history.epochs), self.recipe.epochs):
                if self.recipe.patience and epoch - 1 - self.history.best_epoch >= self.recipe.patience:
                    break
                self._epoch(epoch, state, report)
                self._validate(epoch, report)
                if state:
                    state.save(self)
            self._put(self.best if self.recipe.select == "best" else self.mean)
            logits = predict(self.trained, self.source, range(len(self.tokens)))
        self.model.requires_grad_(False)
        self.history.seconds += time.monotonic() - began
        return Outcome(self.history, logits[: self.count], logits[self.count :])

    def _take(self, lesson: Labelled) -> None:
        """Learn this from now on."""
        self.lesson, self.labels = lesson, torch.tensor(lesson.labels)
        self.targets = self.labels if lesson.targets is None else lesson.targets

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """All of what is trained, parted by whether it decays."""

        def decays(name: str, parameter: Tensor) -> bool:
            return self.recipe.decay == "all" or (parameter.dim() == 2 and ".wte." not in name and ".wpe." not in name)

        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.trained_parameters().items():
            groups.setdefault(self.recipe.weight_decay * decays(name, parameter), []).append(parameter)
        return [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]

    def _copies(self) -> dict[str, Tensor]:
        return {name: one.detach().clone() for name, one in self.trained_parameters().items()}

    def _put(self, values: Mapping[str, Tensor]) -> None:
        """Set the trained parameters that there are values for."""
        for name, value in values.items():
            self.trained_parameters()[name].data.copy_(value)

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What changes, by name."""
        return {name: one for name, one in self.model.named_parameters() if one.requires_grad}

    def _fill(self, cache_bytes: int, report: Report) -> FeatureCache:
        # with only the head trained, a message has the features of one token
        ends = np.arange(1, len(self.tokens) + 1) if self.recipe.trainable == "head" else self.tokens.ends
        shares, device = self.accelerator.num_processes, self.accelerator.device
        cache = FeatureCache(ends, self.model.config.n_embd, self.source.features, cache_bytes, sharing=shares)
        # the processes exchange what all of them keep, and the disk may have had less left for one of them
        cache.kept = int(self.accelerator.gather(torch.tensor([cache.kept], device=device)).min())
        groups, done = batches_by_length(self.source.lengths, range(cache.kept), TOKENS_AT_ONCE), 0
        for filled in cache.fill(groups, self._exchanged(cache, groups) if shares > 1 else None):
            done += filled
            report("features", done, cache.kept, {})
        self.source.cache = cache
        return cache

    def _exchanged(self, cache: FeatureCache, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Features of every group, each computed by one of the processes and sent to the others."""
        from accelerate.utils import broadcast

        shares, rank, device = self.accelerator.num_processes, self.accelerator.process_index, self.accelerator.device
        for start in range(0, len(groups), shares):
            turn = groups[start : start + shares]
            own = cache.compute(turn[rank]) if rank < len(turn) else None
            for owner, group in enumerate(turn):
                tokens = sum(cache.lengths[index] for index in group)
                features = own if owner == rank else torch.empty(tokens, cache.width, device=device)
                yield broadcast(features, from_process=owner)

    def _epoch(self, epoch: int, state: RunState | None, report: Report) -> None:
        history = self.history.steps
        self.trained.learning(True)
        self.source.left_out = self.recipe.token_dropout
        if self.train.lesson:
            self._take(self.train.lesson(epoch))
            self.source.show(self.lesson.tokens)
        groups = epoch_groups(self.recipe, epoch, self.source.lengths[: self.learned])
        for group in groups[len(history) - epoch * len(groups) :]:
            rate = learning_rate(self.recipe, len(history), self.steps)
            loss, right = self._step(group, rate)
            seen = (history[-1]["examples"] if history else 0) + len(group)
            history.append({"examples": seen, "loss": loss, "accuracy": right / len(group), "rate": rate})
            report("training", len(history), self.steps, history[-1])
            if state and state.is_due():
                state.save(self)
        self.trained.learning(False)
        self.source.left_out = 0.0
        self.source.show(self.tokens)

    def _step(self, group: Sequence[int], rate: float) -> tuple[float, float]:
        """One step on a group of messages; gives their mean loss and how many were right before it.

        Every process takes its share of each batch. The mean is over the whole group, so that it is the same for any
        number of processes and of batches.
        """
        accelerator, recipe, device = self.accelerator, self.recipe, self.accelerator.device
        shares, rank = accelerator.num_processes, accelerator.process_index
        weights = self.weights.to(device)
        whole = self.weights[self.labels[group]].sum().item()
        batches = [group[at : at + recipe.batch_size] for at in range(0, len(group), recipe.batch_size)]
        # a process whose share is empty takes part with a message that counts nothing
        mine = [batch[rank::shares] or batch[:1] for batch in batches]
        totals = torch.zeros(2, device=device)
        self.source.random = np.random.default_rng([recipe.seed, len(self.history.steps), rank])
        for place, (batch, (x, packing)) in enumerate(self.source.ahead(mine)):
            counts = float(rank < len(batches[place]))
            with nullcontext() if place + 1 == len(batches) else accelerator.no_sync(self.module):
                expected, goal = (which[list(batch)].to(device) for which in (self.labels, self.targets))
                logits = self.module(x, packing)
                losses = F.cross_entropy(
                    logits, goal, weights, reduction="none", label_smoothing=recipe.label_smoothing
                )
                if self.lesson.targets is not None:
                    told = torch.logit(goal[:, 1], eps=1e-6)
                    losses = losses + MARGIN * F.smooth_l1_loss(logits[:, 1] - logits[:, 0], told, reduction="none")
                loss = losses.sum() * (counts / whole)
                accelerator.backward(loss * shares)  # since the processes' gradients are averaged
            totals += torch.stack([loss.detach(), (logits.argmax(1) == expected).sum() * counts])
        loss_of_group, right = accelerator.reduce(totals, "sum").tolist()
        if not math.isfinite(loss_of_group):
            raise TrainerError(
                f"the loss is {loss_of_group} at step {len(self.history.steps) + 1} of {self.steps}, with the learning "
                f"rate at {rate:.3g}: lower --learning-rate, or set --clip"
            )
        if recipe.clip:
            accelerator.clip_grad_norm_(self.parameters, recipe.clip)
        for options in self.optimizer.param_groups:
            options["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.mean:
            # the mean begins as one of few steps, else the random start would be in it for long
            share = 1 - min(recipe.average, (len(self.history.steps) + 1) / (len(self.history.steps) + 11))
            now = self.trained_parameters()
            torch._foreach_lerp_([*self.mean.values()], [now[name].detach() for name in self.mean], share)
        return loss_of_group, right

    def _validate(self, epoch: int, report: Report) -> None:
        current = self._copies()
        self._put(self.mean)
        logits = predict(self.trained, self.source, range(self.count, len(self.tokens)))
        expected = torch.tensor(self.validation.labels)
        measured = {
            "examples": self.history.steps[-1]["examples"],
            "loss": F.cross_entropy(logits, expected).item(),
            "accuracy": (logits.argmax(1) == expected).float().mean().item(),
        }
        if all(measured["loss"] < earlier["loss"] for earlier in self.history.epochs):
            self.history.best_epoch = epoch
            self.best = self._copies()
        self._put(current)
        self.history.epochs.append(measured)
        report("validation", epoch + 1, self.recipe.epochs, measured)


def fine_tune(
    model: GPT2Classifier,
    train: Labelled,
    validation: Labelled,
    recipe: Recipe,
    *,
    accelerator: Accelerator,
    cache_bytes: int = 2 << 30,
    state: Path | None = None,
    resume: bool = False,
    report: Report = silent,
) -> Outcome:
    """Train a model in place.

    Args:
        model: the classifier with its starting weights; with ``trainable="lora"``, with adapters.
        train: what it learns from.
        validation: what is measured after every epoch.
        recipe: how.
        accelerator: device and processes. The models and optimizers that it holds are let go of at the end.
        cache_bytes: memory for the output of the frozen part; what is beyond it goes to a temporary file. With 0 the
            frozen part is run for every batch anew.
        state: file that the run can be resumed from, rewritten as it goes; with None it cannot.
        resume: go on from ``state`` if it is there. The result is the one that the whole run would have had.
        report: told of the progress.

    Raises:
        TrainerError: the loss is not a number, the GPU has too little memory, or the state is another run's.
    """
    tuning = FineTuning(model, train, validation, recipe, accelerator)
    run_state = None
    if state:
        labels = [*train.labels, *validation.labels]
        identity = {"recipe": asdict(recipe), "tokens": tuning.tokens.fingerprint(), "labels": labels}
        run_state = RunState(state, {**identity, "processes": accelerator.num_processes}, resume=resume)
    try:
        return tuning.run(cache_bytes, run_state, report)
    except torch.OutOfMemoryError as error:
        raise TrainerError(
            f"the GPU has too little memory for --batch-size {recipe.batch_size}: lower it and raise --accumulate by "
            "as much, or use --precision bf16"
        ) from error
    finally:
        accelerator.free_memory()
