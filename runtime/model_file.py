"""One .onnx file, opened only after it was found to be a classifier that this version can serve."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from runtime.cpus import usable_cpus
from runtime.errors import ModelError
from runtime.spec import PREFIX, ClassifierSpec

SHIPPED = Path(__file__).parent / "models" / "nano.onnx"
"""The model inside the package."""

SMALL_MODEL = 32 << 20
"""Bytes of weights below which a model is small: sharing its work among threads costs more than it saves."""

Provider = str | tuple[str, Mapping[str, Any]]
"""Name of an onnxruntime execution provider, or a name with its options."""

OrtError = (
    ort_errors.EngineError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.ModelLoaded,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)
"""What onnxruntime raises for a model that it cannot load or run; it has no common base of its own."""

_SEAL_KEY = f"{PREFIX}file_sha256".encode()
# A metadata_props entry of a ModelProto as it stands in the file: field 14, then key (1) and value (2), all by length.
_SEAL_HEAD = bytes([0x72, 4 + len(_SEAL_KEY) + 66, 0x0A, len(_SEAL_KEY)]) + _SEAL_KEY + bytes([0x12, 66])
_SEAL_LENGTH = len(_SEAL_HEAD) + 66


def shipped_model() -> Path:
    """Path of the model inside the package. Raises ``ModelError`` where this install has none."""
    if not SHIPPED.is_file():
        raise ModelError(f"this install ships no model: give one, as spam-export writes it ({SHIPPED.name} is missing)")
    return SHIPPED


def is_small(path: Path) -> bool:
    """Whether a model's files, weights kept as external data included, are smaller than `SMALL_MODEL`."""
    files = (path, path.with_name(f"{path.name}.data"))
    return sum(file.stat().st_size for file in files if file.is_file()) < SMALL_MODEL


def find_model(folder: Path = Path()) -> Path:
    """What a command takes when told no model: ``$SPAM_EDGE_MODEL``, ``artifacts/spam.onnx``, the shipped one."""
    if named := os.environ.get("SPAM_EDGE_MODEL"):
        return Path(named)
    local = folder / "artifacts" / "spam.onnx"
    return local if local.is_file() else shipped_model()


def seal(path: Path) -> None:
    """Append the SHA-256 of an .onnx file to its metadata, so that `open_model` notices any later damage.

    A protobuf message may be continued by appending fields: the file stays an ordinary ONNX file. To be called once,
    last, on a finished file. Weights kept as external data are not covered.
    """
    digest = _sha256(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(_SEAL_HEAD + json.dumps(digest).encode())


def unsealed(data: bytes) -> bytes:
    """The bytes of a file without what `seal` appended to it."""
    return data[:-_SEAL_LENGTH] if data[-_SEAL_LENGTH:].startswith(_SEAL_HEAD) else data


def open_model(
    path: Path,
    *,
    threads: int | None = None,
    session_options: Mapping[str, str | int | bool] | None = None,
    providers: Sequence[Provider] | None = None,
) -> tuple[ort.InferenceSession, ClassifierSpec]:
    """Open an .onnx file that ``spam-export`` wrote.

    Args:
        path: The file.
        threads: Threads for one computation; by default the CPUs that this process may really use, or 1 for a small
            model (see `is_small`).
        session_options: onnxruntime's own settings, laid over those of this package: names with a dot are
            configuration entries (``session.intra_op.allow_spinning``), others attributes of ``SessionOptions``.
        providers: onnxruntime execution providers in order of preference; the CPU by default.

    Raises:
        ModelError: The file is missing, damaged, another kind of model, or newer than this install; or a provider is
            not part of the installed onnxruntime. One line that says which.
        ValueError: A session option that onnxruntime does not know.
    """
    if threads is None:
        threads = 1 if is_small(path) else usable_cpus()
    options = _session_options(threads, session_options or {})
    chosen = list(providers) if providers is not None else ["CPUExecutionProvider"]
    names = [provider if isinstance(provider, str) else provider[0] for provider in chosen]
    for name in names:
        if name not in ort.get_available_providers():
            raise ModelError(
                f"the installed onnxruntime has no {name}, only {', '.join(ort.get_available_providers())}: "
                "install the onnxruntime package that brings it"
            )
    _check_file(path)
    try:
        session = ort.InferenceSession(str(path), options, providers=chosen, enable_fallback=0)
        spec = ClassifierSpec.from_props(session.get_modelmeta().custom_metadata_map)
        _check_graph(session, spec)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: text in it is not UTF-8: {error}") from error
    except OrtError as error:
        raise ModelError(f"{path}: {_reason(error)}") from error
    for name in names:
        if name not in session.get_providers():
            raise ModelError(f"{name} is in the installed onnxruntime but could not start here")
    _give_back_memory()
    return session, spec


def _give_back_memory() -> None:
    """Return to the system what loading took and freed: half a file's size, which glibc would keep."""
    if os.name == "posix" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def _session_options(threads: int, extra: Mapping[str, str | int | bool]) -> ort.SessionOptions:
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    settings: dict[str, str | int | bool] = {
        # Threads may spin while a computation runs, which is fast, but not between two: an idle process stays idle.
        "session.force_spinning_stop": "1",
        # Weights outside the arena, which would round their size up.
        "session.use_device_allocator_for_initializers": "1",
        **extra,
    }
    for name, value in settings.items():
        if "." in name:
            options.add_session_config_entry(name, str(int(value)) if isinstance(value, bool) else str(value))
        elif hasattr(options, name):
            setattr(options, name, value)
        else:
            raise ValueError(f"onnxruntime's SessionOptions has no {name!r}")
    return options


def _check_file(path: Path) -> None:
    """Refuse what is no file, cannot be read, or no longer is what was sealed."""
    if not path.is_file():
        raise ModelError(f"{path}: {'not a file' if path.exists() else 'no such model'}")
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _SEAL_LENGTH))
            tail = file.read()
        if tail.startswith(_SEAL_HEAD):
            stated = tail[-65:-1].decode("ascii", "replace")
            if _sha256(path, size - _SEAL_LENGTH) != stated:
                raise ModelError(f"{path}: damaged, or changed since its export: its SHA-256 is not the stated one")
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error


def _sha256(path: Path, length: int) -> str:
    """SHA-256 of the first ``length`` bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while length and (block := file.read(min(length, 1 << 20))):
            digest.update(block)
            length -= len(block)
    return digest.hexdigest()


def _check_graph(session: ort.InferenceSession, spec: ClassifierSpec) -> None:
    """Refuse another model's inputs and outputs."""
    ins = {value.name: (value.type, len(value.shape)) for value in session.get_inputs()}
    if ins != {"input_ids": ("tensor(int64)", 2), "attention_mask": ("tensor(int64)", 2)}:
        raise ModelError(
            f"not a spam-edge model: its inputs are {_listed(ins)}, "
            "expected input_ids and attention_mask, int64 [batch, sequence]"
        )
    outs = {value.name: (value.type, len(value.shape)) for value in session.get_outputs()}
    if outs != {"logits": ("tensor(float)", 2)}:
        raise ModelError(
            f"not a spam-edge model: its outputs are {_listed(outs)}, expected logits, float [batch, labels]"
        )
    columns = session.get_outputs()[0].shape[1]
    if isinstance(columns, int) and columns != len(spec.labels):
        raise ModelError(f"its logits have {columns} columns, but its metadata has {len(spec.labels)} labels")


def _listed(values: Mapping[str, tuple[str, int]]) -> str:
    return ", ".join(f"{name} {kind} of rank {rank}" for name, (kind, rank) in values.items()) or "none"


def _reason(error: Exception) -> str:
    """Say in a user's words why onnxruntime refused a file."""
    text = " ".join(str(error).split())
    newer = f"is newer than onnxruntime {ort.__version__} knows: upgrade onnxruntime"
    reasons = {
        "External data path does not exist": "its weights are in a second file, which is missing: keep them together",
        "escapes model directory": "refused: it wants external data from outside its own folder",
        "Absolute path not allowed": "refused: it wants external data from outside its own folder",
        "External initializer": "its external data is cut short",
        "only *guarantees* support": f"its opset {newer}",
        "Unsupported model IR version": f"its IR {newer}",
        "No graph was found": "not an ONNX file",
        "Protobuf parsing failed": "not an ONNX file, or one that is cut short",
    }
    for sign, reason in reasons.items():
        if sign in text:
            return reason
    return f"onnxruntime {ort.__version__} cannot load it: {text.rpartition(' failed:')[2]}"
