"""What the tests of all floors share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.trainer.fitted import Fitted

# The same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def sms_collection() -> Path:
    """The SMS Spam Collection, where this machine has it."""
    named = os.environ.get("SMS_SPAM_COLLECTION")
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "data" / "SMSSpamCollection"
    if not path.is_file():
        pytest.skip(f"the SMS Spam Collection is not at {path}: set SMS_SPAM_COLLECTION to its path")
    return path


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    """A wide path fitted to the sample messages. Only the tests that ask for it need PyTorch."""
    from tests.trainer.fitted import fit_sample

    return fit_sample()
