"""What the tests of all floors share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
