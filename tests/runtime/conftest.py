"""What the runtime's tests share."""

from pathlib import Path

import pytest

from runtime import SpamClassifier
from tests.runtime.toy_model import write_toy_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("model") / "toy.onnx")


@pytest.fixture(scope="session")
def classifier(model: Path) -> SpamClassifier:
    return SpamClassifier(model)


@pytest.fixture(scope="session")
def messages(sms_collection: Path) -> list[str]:
    """The texts of the SMS Spam Collection."""
    lines = sms_collection.read_text(encoding="utf-8").split("\n")[:-1]
    return [line.split("\t", 1)[1] for line in lines]
