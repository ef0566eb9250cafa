"""The model card that a run leaves for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from runtime.spec import ClassifierSpec
from trainer.data import SMS_NAME
from trainer.evaluation.tables import figure, markdown, metrics_table
from trainer.recipe import Recipe, as_flag, make_recipe

SMS_TITLE = (
    "SMS Spam Collection (T. A. Almeida, J. M. Gómez Hidalgo, A. Yamakami, 2011,\ndoi:10.24432/C5CC84, CC BY 4.0)"
)


def model_card(recipe: Recipe, spec: ClassifierSpec, metrics: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """The checkpoint's README.md: data, recipe, figures with intervals, use, limits, how to make it again."""
    defaults = make_recipe(model=recipe.model)
    given = {name: value for name, value in asdict(recipe).items() if value != getattr(defaults, name)}
    shown = {"model": recipe.model, **given}
    command = " ".join(["spam-train", *(as_flag(name, value) for name, value in shown.items())])
    sets = {
        "test": metrics["test"],
        "test without exact repeats": metrics["test_without_exact_repeats"],
        "test without near repeats": metrics["test_without_near_repeats"],
    }
    data = ", ".join(SMS_TITLE if name == SMS_NAME else name for name in recipe.data)
    unused = metrics["unused_ham"]
    false_positives = (
        f"Of {unused['count']:,} {spec.labels[0]} messages that balancing left out, "
        f"{figure(unused, 'false_positive_rate')} are called spam at the threshold in use.\n\n"
        if unused["count"]
        else ""
    )
    thresholds = [["wanted", "threshold", "false-positive rate", "recall"]]
    thresholds += [
        [
            f"{row['target_false_positive_rate']:.1%}",
            f"{row['threshold']:.4g}",
            f"{row['false_positive_rate']:.2%} ({row['false_positive_rate_interval'][0]:.2%} to "
            f"{row['false_positive_rate_interval'][1]:.2%})",
            f"{row['recall']:.2%} ({row['recall_interval'][0]:.2%} to {row['recall_interval'][1]:.2%})",
        ]
        for row in metrics["thresholds"]
    ]
    chosen, reported = metrics["thresholds"][0]["ham_chosen_on"], metrics["thresholds"][0]["ham"]
    padding = f"{spec.padding}" + (f", {spec.pad_length} tokens" if spec.pad_length else "")
    kinds = f"Kinds of messages: {', '.join(spec.channels)}.\n" if spec.channels else ""
    beside = (
        f"Its logits there are the transformer's alone: those of the wide path ({recipe.wide:,} n-grams) are added by "
        "spam-edge.\n"
        if recipe.wide
        else ""
    )
    return f"""---
library_name: transformers
pipeline_tag: text-classification
base_model: {recipe.model}
---
# Spam classifier, {recipe.model}

GPT-2 ({recipe.model}, starting weights: {recipe.weights}) with a head of {len(spec.labels)} labels
({", ".join(spec.labels)}), read at the {spec.readout} token; padding: {padding}; fold: {spec.fold}.
transformers loads the checkpoint's folder as a `GPT2ForSequenceClassification`; `spam-export` makes an ONNX file of it.
{beside}
## Data

{data}: {sizes["train"]:,} training, {sizes["validation"]:,} validation and {sizes["test"]:,} test messages
(balance: {recipe.balance}, kept together: {recipe.groups}, seed {recipe.seed};
SHA-256 over all messages read: `{spec.data_fingerprint}`).
{sizes["exact"]} test messages repeat a training message letter by letter, {sizes["near"]} but for case, digits and
spacing.
{kinds}
## Figures

Each with its 95% interval. Threshold {spec.threshold:.4g}, temperature {spec.temperature:.4g}.

{markdown(metrics_table(sets))}

{false_positives}Expected calibration error on the test set: {metrics["calibration"]["before"]:.4f} before the
temperature, {metrics["calibration"]["after"]:.4f} after it.

Thresholds for wanted false-positive rates, chosen on {chosen:,} {spec.labels[0]} messages and
measured on {reported:,} others:

{markdown(thresholds)}

In the checkpoint's folder `errors.tsv` lists every misclassified validation and test message, and `plots/` shows the
training and the test set.

## Use

For messages like those it was trained on: in their language, of their kind, of their time. It says how much a
message resembles the spam it has seen; it does not know who sent it. Let a person or a second signal decide where a
lost message is costly, measure it on your own messages with `spam-eval`, and train it anew as spam changes.

## Make it again

```
{command}
```
`recipe.toml` holds the whole recipe: `spam-train --config recipe.toml`.
"""
