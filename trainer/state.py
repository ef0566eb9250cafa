"""A run on disk: what it takes to go on after a kill and end where the whole run would have ended."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from runtime.files import written_beside
from trainer.errors import TrainerError
from trainer.pretrained import save_tensors

if TYPE_CHECKING:
    from trainer.fine_tune import FineTuning

SAVE_EVERY = 30.0
"""Seconds between two states within an epoch."""


@dataclass
class History:
    """How the training went."""

    steps: list[dict[str, float]] = field(default_factory=list)
    """For every step: examples seen, loss and accuracy of its messages before it, learning rate."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    """For every epoch: examples seen, loss and accuracy on the validation messages."""
    best_epoch: int = -1
    """The epoch, from 0, with the lowest validation loss."""
    seconds: float = 0.0
    """Time in the loop, features and validation included."""


class RunState:
    """One safetensors file, always whole: trained weights, best weights, optimizer, random numbers, history.

    Args:
        path: the file.
        identity: JSON values that tell this run from another.
        resume: whether `load_into` takes the file up.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, resume: bool) -> None:
        self.path, self.identity, self.resume = path, json.loads(json.dumps(identity)), resume
        self.saved = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last state is old."""
        return time.monotonic() - self.saved > SAVE_EVERY

    def save(self, run: FineTuning) -> None:
        """Write the state beside and put it in place; the main process does it for all."""
        self.saved = time.monotonic()
        if not run.accelerator.is_main_process:
            return
        tensors = {f"weights.{name}": one.detach() for name, one in run.trained_parameters().items()}
        tensors |= {f"best.{name}": one for name, one in run.best.items()}
        tensors |= {f"mean.{name}": one for name, one in run.mean.items()}
        for place, state in run.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": value for name, value in state.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if run.accelerator.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        metadata = {"identity": json.dumps(self.identity), "history": json.dumps(asdict(run.history))}
        with written_beside(self.path) as beside:
            save_tensors(beside, {name: one.cpu().contiguous() for name, one in tensors.items()}, metadata)

    def load_into(self, run: FineTuning) -> None:
        """Take up the state, if one is wanted and there. Raises ``TrainerError`` where it is another run's."""
        if not self.resume or not self.path.is_file():
            return
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            identity, history = json.loads(metadata["identity"]), json.loads(metadata["history"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise TrainerError(f"{self.path} is not the state of a run: {error}; remove it to start anew") from error
        if identity != self.identity:
            theirs, ours = identity.get("recipe", {}), self.identity["recipe"]
            changed = [name.replace("_", "-") for name in ours if theirs.get(name) != ours[name]]
            raise TrainerError(
                f"--resume: {self.path} is the state of a run with other {', '.join(changed) or 'data or processes'}: "
                "give the same flags and data, or leave --resume out to start anew"
            )
        run.history = History(**history)
        parameters = run.trained_parameters()
        for name, one in parameters.items():
            one.data.copy_(tensors[f"weights.{name}"])
        device = run.accelerator.device
        run.best = {name: tensors[f"best.{name}"].to(device) for name in parameters if f"best.{name}" in tensors}
        run.mean = {name: tensors[f"mean.{name}"].to(device) for name in run.mean}
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, place, key = name.split(".")
                states.setdefault(int(place), {})[key] = tensor
        run.optimizer.load_state_dict({"state": states, "param_groups": run.optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
