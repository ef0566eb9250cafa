"""Text becomes a verdict: onnxruntime on a CPU, and nothing else.

``from runtime import SpamClassifier`` is all an app needs. Nothing is loaded before it is used: ``import runtime``
alone costs next to nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Since 1.29 onnxruntime reports its use to its maker unless this is set before its import; what is classified here,
# and that it is, is nobody's business. It also starts no thread then, which a forked child would wait for at its end.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from runtime.classifier import SpamClassifier, Verdict
    from runtime.errors import InputError, ModelError, OutputError, SpamEdgeError
    from runtime.spec import ClassifierSpec

__all__ = [
    "ClassifierSpec",
    "InputError",
    "ModelError",
    "OutputError",
    "SpamClassifier",
    "SpamEdgeError",
    "Verdict",
]

_HOMES = {"SpamClassifier": "runtime.classifier", "Verdict": "runtime.classifier", "ClassifierSpec": "runtime.spec"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "runtime.errors")), name)


def __dir__() -> list[str]:
    return __all__
