import pytest
from helpers.optimizer_training import fit, update_by_hand


@pytest.fixture(params=[update_by_hand, pytest.param(fit, marks=pytest.mark.slow)])
def train(request):
    """A function of a model and a number of updates."""
    return request.param
