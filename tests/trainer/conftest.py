"""What the tests of the trainer share."""

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> None:
    """Models this small take longer when their work is shared among threads."""
    torch.set_num_threads(1)
