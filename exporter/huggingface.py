"""The folder that Optimum and transformers.js load a classifier from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from exporter.export import Options, Report, export
from exporter.text import refuse_fold
from exporter.vocabulary import END_OF_TEXT_NAME, merges, tokenizer_config, tokenizer_json, vocabulary
from runtime.files import written_beside
from runtime.spec import ClassifierSpec, Precision
from trainer.checkpoint import CONFIG_FILE, read_config

MODELS: tuple[tuple[Precision, str], ...] = (("fp32", "model.onnx"), ("int8", "model_quantized.onnx"))
"""Names that those libraries look for, in the folder ``onnx``."""


def export_folder(checkpoint: Path, folder: Path, options: Options, verify_data: Path | None = None) -> list[Report]:
    """Write ``config.json``, the tokenizer's files, and both precisions, each verified as by `export`.

    Args:
        checkpoint: Directory that spam-train wrote.
        folder: The folder to make.
        options: Opset and target; both precisions are made.
        verify_data: As in `export`.

    Raises:
        ExportError: The checkpoint folds its texts, which the tokenizer's files cannot say; or as in `export`.
    """
    spec = check_layout(checkpoint)
    with written_beside(folder, directory=True) as scratch:
        shutil.copy(checkpoint / CONFIG_FILE, scratch / CONFIG_FILE)
        write_tokenizer(scratch, spec.context_length)
        return [
            export(checkpoint, scratch / "onnx" / name, dataclasses.replace(options, precision=precision), verify_data)
            for precision, name in MODELS
        ]


def check_layout(checkpoint: Path) -> ClassifierSpec:
    """The description of a checkpoint that can be written so. Raises ``ExportError`` where it folds its texts."""
    _, spec = read_config(checkpoint)
    refuse_fold(spec, "--layout huggingface")
    return spec


def write_tokenizer(folder: Path, context: int) -> None:
    """Write a tokenizer in every form in which ``transformers`` and transformers.js read GPT-2's."""
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END_OF_TEXT_NAME)
    padding = {"padding_side": "right", **special}
    files = {
        "tokenizer.json": tokenizer_json(special=True),
        "tokenizer_config.json": tokenizer_config(context) | padding,
        "special_tokens_map.json": special,
        "vocab.json": vocabulary(),
    }
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges())]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
