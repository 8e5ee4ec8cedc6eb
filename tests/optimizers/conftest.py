"""How the optimizers' tests train, and in which form an update is computed."""

import pytest
from helpers.optimizer_training import fit, update_by_hand


@pytest.fixture(params=[update_by_hand, pytest.param(fit, marks=pytest.mark.slow)])
def train(request):
    """A function of a model and a number of updates."""
    return request.param


@pytest.fixture
def jit_compile(request, monkeypatch):
    """The constructor's argument for one of the forms of `helpers.optimizer_table.with_xla`."""
    if request.param == "xla":
        from helpers.optimizer_table import by_xla

        by_xla(monkeypatch)
    return request.param != "plain"
