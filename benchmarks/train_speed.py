"""Training, side by side: the textbook's loop and ours, on the same CPU, messages, starting weights and batches.

The textbook's loop (chapter 6 of Raschka's "Build a Large Language Model (From Scratch)") is rendered here on its own:
messages padded to the longest of the training set, the whole model forward at every step with explicit attention, AdamW
on the last block, the final norm and the head, losses on five batches of training and validation messages every 50
steps, accuracies on five batches after every epoch, and accuracies on all messages at the end.

all: the row "random weights, all layers" of the published table, every parameter trained, without padding. products:
what share of the time of such steps goes into matrix products, for the same shape and for nano.

usage: python benchmarks/train_speed.py [--epochs 5] [--rounds 3] [--only fp32 bf16 longest book all products]

fp32 and bf16 are run as often as there are rounds, before and after the others; the rest, which takes long, once, and
the textbook's loop says how long each of its epochs took. What was run goes into ``results/train_speed.json``, beside
what earlier calls left there.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from machine import machine, read_result, sms_path, write_result
from processes import spread
from torch import Tensor, nn

from runtime.spec import ClassifierSpec
from trainer.data import tokenize
from trainer.evaluation.labelled import Splits, read_messages, split
from trainer.fine_tune import Labelled, classify_tokens, epoch_order, fine_tune
from trainer.gpt2 import SHAPES, GPT2Classifier
from trainer.recipe import make_recipe
from trainer.spelling import add_spelling

SEED = 123


class TextbookBlock(nn.Module):
    """A block with explicit attention scores and one linear layer each for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        h = self.norm1(x)
        q, k, v = (
            layer(h).view(batch, length, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(2, 3)
        scores.masked_fill_(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
        mixed = torch.softmax(scores / math.sqrt(width // self.heads), dim=-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Textbook(nn.Module):
    """The textbook's classifier with the weights of ours."""

    def __init__(self, ours: GPT2Classifier) -> None:
        super().__init__()
        config, t = ours.config, ours.transformer
        self.tokens, self.positions = t.wte, t.wpe
        self.blocks = nn.Sequential(*(TextbookBlock(config.n_embd, config.n_head) for _ in range(config.n_layer)))
        self.norm, self.head = t.ln_f, ours.score
        for mine, theirs in zip(self.blocks, t.h, strict=True):
            parts = zip(theirs.attn.c_attn.weight.chunk(3, 1), theirs.attn.c_attn.bias.chunk(3), strict=True)
            for layer, (weight, bias) in zip((mine.query, mine.key, mine.value), parts, strict=True):
                layer.weight.data, layer.bias.data = weight.data.T.contiguous(), bias.data.clone()
            for layer, conv in (
                (mine.out, theirs.attn.c_proj),
                (mine.up, theirs.mlp.c_fc),
                (mine.down, theirs.mlp.c_proj),
            ):
                layer.weight.data, layer.bias.data = conv.weight.data.T.contiguous(), conv.bias.data.clone()
        for module in (self.tokens, self.positions, *self.blocks[:-1]):
            module.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))[:, -1]


def fresh() -> GPT2Classifier:
    model = GPT2Classifier(SHAPES["gpt2"])
    model.initialize(SEED)
    return model


def padded(splits: Splits) -> tuple[int, dict[str, tuple[Tensor, Tensor]]]:
    length = int(tokenize(splits.train.texts, ClassifierSpec()).lengths.max())
    spec = ClassifierSpec(padding="longest", pad_length=length)
    sets = {}
    for name in ("train", "validation", "test"):
        messages = getattr(splits, name)
        ids = torch.from_numpy(tokenize(messages.texts, spec).ids.astype(np.int64)).view(-1, length)
        sets[name] = ids, torch.tensor(messages.labels)
    return length, sets


def textbook(splits: Splits, epochs: int) -> dict[str, Any]:
    began = time.perf_counter()
    length, sets = padded(splits)
    torch.manual_seed(SEED)
    model = Textbook(fresh())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-5, weight_decay=0.1)
    ids, labels = sets["train"]

    @torch.no_grad()
    def evaluate(name: str, batches: int | None = None) -> tuple[float, float]:
        all_ids, all_labels = sets[name]
        starts = range(0, len(all_ids), 8)[:batches]
        logits = [model(all_ids[at : at + 8]) for at in starts]
        expected = all_labels[: 8 * len(starts)]
        return F.cross_entropy(torch.cat(logits), expected).item(), accuracy(torch.cat(logits), expected)

    losses, evaluated, ends = [], [], [time.perf_counter()]
    for epoch in range(epochs):
        order = epoch_order(SEED, epoch, len(ids))
        for at in range(0, len(order), 8):
            batch = order[at : at + 8]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(ids[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) % 50 == 1:
                evaluated.append((len(losses), evaluate("train", 5)[0], evaluate("validation", 5)[0]))
        evaluate("train", 5), evaluate("validation", 5)
        ends.append(time.perf_counter())
        print(f"textbook: epoch {epoch + 1}, {ends[-1] - began:.0f} s", flush=True)
    final = {name: evaluate(name)[1] for name in sets}
    return {
        "seconds": time.perf_counter() - began,
        "epoch_seconds": [end - start for start, end in itertools.pairwise(ends)],
        "losses": losses,
        "accuracy": final,
        "padded_to": length,
    }


def accuracy(logits: Tensor, expected: Tensor) -> float:
    return (logits.argmax(1) == expected).float().mean().item()


def ours(splits: Splits, epochs: int, padding: str, precision: str, trainable: str = "last-block") -> dict[str, Any]:
    began = time.perf_counter()
    phases: Counter[str] = Counter()
    last = began

    def report(phase: str, done: int, total: int, values: dict[str, float]) -> None:
        nonlocal last
        now = time.perf_counter()
        phases[phase], last = phases[phase] + now - last, now
        if phase == "validation":
            print(f"{trainable}, {precision}: epoch {done}, {now - began:.0f} s, {values}", flush=True)

    spec = ClassifierSpec()
    if padding == "longest":
        spec = ClassifierSpec(padding="longest", pad_length=padded(splits)[0])
    recipe = make_recipe(
        weights="random", epochs=epochs, padding=padding, precision=precision, trainable=trainable, seed=SEED
    )
    model = fresh()
    parts = {
        name: Labelled(tokenize(messages.texts, spec), messages.labels)
        for name, messages in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    }
    outcome = fine_tune(
        model, parts["train"], parts["validation"], recipe, accelerator=Accelerator(cpu=True), report=report
    )
    final = {
        "train": accuracy(outcome.train_logits, torch.tensor(splits.train.labels)),
        "validation": accuracy(outcome.validation_logits, torch.tensor(splits.validation.labels)),
        "test": accuracy(classify_tokens(model.eval(), parts["test"].tokens), torch.tensor(splits.test.labels)),
    }
    seconds = time.perf_counter() - began
    print(f"ours, padding {padding}, {precision}: {seconds:.0f} s", flush=True)
    phases["rest"] = seconds - sum(phases.values())
    return {
        "seconds": seconds,
        "phases": phases,
        "losses": [step["loss"] for step in outcome.history.steps],
        "validation": outcome.history.epochs,
        "accuracy": final,
    }


SHORT = ("fp32", "bf16")
"""What is run in every round."""
PRODUCTS = ("mm", "bmm", "scaled_dot_product", "linear")


def products(splits: Splits) -> dict[str, Any]:
    """Share of the time of steps that train everything which is spent in matrix products, attention's included."""
    from torch.profiler import ProfilerActivity, profile

    shares = {}
    for name, count in (("gpt2", 64), ("nano", 512)):
        recipe = make_recipe(model=name, weights="random", trainable="all", epochs=1, seed=SEED)
        messages = splits.train.take(range(count))
        train, validation = (Labelled(tokenize(m.texts, ClassifierSpec()), m.labels) for m in (messages, messages))
        model = GPT2Classifier(SHAPES[name])
        model.initialize(SEED)
        if recipe.spelling:
            add_spelling(model, train.tokens.ids, SEED)
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if name == "nano" else threads)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            fine_tune(model, train, validation, recipe, accelerator=Accelerator(cpu=True))
        torch.set_num_threads(threads)
        spent: Counter[str] = Counter()
        for event in profiler.key_averages():
            spent[event.key] += event.self_cpu_time_total
        largest = {key: round(value / spent.total(), 4) for key, value in spent.most_common(8)}
        inside = sum(value for key, value in spent.items() if any(part in key for part in PRODUCTS))
        shares[name] = {"share_in_products": inside / spent.total(), "largest": largest}
        print(name, shares[name], flush=True)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=sms_path())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["fp32", "bf16", "longest", "book", "products"])
    arguments = parser.parse_args()
    splits = split(read_messages(arguments.data)[0], SEED)
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "fp32": lambda: ours(splits, arguments.epochs, "batch", "fp32"),
        "bf16": lambda: ours(splits, arguments.epochs, "batch", "bf16"),
        "longest": lambda: ours(splits, arguments.epochs, "longest", "fp32"),
        "book": lambda: textbook(splits, arguments.epochs),
        "all": lambda: ours(splits, arguments.epochs, "batch", "fp32", "all"),
        "products": lambda: products(splits),
    }
    kept = read_result("train_speed")
    summary: dict[str, Any] = {"epochs": arguments.epochs}
    summary["runs"] = kept["runs"] if kept.get("epochs") == arguments.epochs else {}
    short = [name for name in arguments.only if name in SHORT]
    rest = [name for name in arguments.only if name not in SHORT]
    seconds: dict[str, list[float]] = {name: [] for name in arguments.only}
    for name in [*short, *rest, *short * (arguments.rounds - 1)]:
        summary["runs"][name] = runs[name]()
        if name != "products":
            seconds[name].append(summary["runs"][name]["seconds"])
            summary["runs"][name]["seconds_of_rounds"] = seconds[name]
            summary["runs"][name]["seconds"] = statistics.median(seconds[name])
        write_result("train_speed", summarized(summary) | machine())
    print({key: value for key, value in summary.items() if key != "runs"})


def summarized(summary: dict[str, Any]) -> dict[str, Any]:
    """How many times faster than the textbook's loop, and how far apart the loss curves are."""
    runs = summary["runs"]
    if "book" in runs:
        faster = ("fp32", "bf16", "longest")
        summary["times_faster"] = {
            name: spread([runs["book"]["seconds"] / seconds for seconds in runs[name]["seconds_of_rounds"]])
            for name in faster
            if name in runs
        }
        if "longest" in runs:
            pairs = zip(runs["book"]["losses"], runs["longest"]["losses"], strict=True)
            summary["largest_difference_of_a_loss"] = max(abs(a - b) for a, b in pairs)
    return summary


if __name__ == "__main__":
    main()
