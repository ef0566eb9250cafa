from __future__ import annotations

from pathlib import Path

import pytest

from tests.exporter.models import make_model, saved
from trainer.checkpoint import Classifier


@pytest.fixture(scope="session")
def model() -> Classifier:
    return make_model()


@pytest.fixture(scope="session")
def checkpoint(model: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(model, tmp_path_factory.mktemp("small") / "checkpoint")


@pytest.fixture(scope="session")
def short_model() -> Classifier:
    return make_model(n_positions=200)  # long enough for attention in pieces
