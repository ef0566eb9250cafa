"""Text becomes a verdict: onnxruntime on a CPU, and nothing else.

``from runtime import SpamClassifier`` is all an app needs. Nothing is loaded before it is used: ``import runtime``
alone costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
