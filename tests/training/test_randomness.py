"""Deterministic algorithms: asked for, had, and given back to the next trial of the process."""

from __future__ import annotations

import os

import pytest
import torch

from gansearch.training.randomness import deterministic_algorithms

CUDNN = torch.backends.cudnn


def switches():
    return torch.get_deterministic_debug_mode(), CUDNN.deterministic, CUDNN.benchmark


@pytest.fixture(autouse=True)
def _untouched(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    yield
    CUDNN.deterministic, CUDNN.benchmark = before[1:]
    torch.set_deterministic_debug_mode(before[0])
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
@pytest.mark.parametrize("benchmark", [False, True])
def test_the_switches_are_put_back_as_they_were(mode, benchmark):
    torch.set_deterministic_debug_mode(mode)
    CUDNN.benchmark = benchmark
    before = switches()
    with deterministic_algorithms(True):
        assert switches() == (2, True, False)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert switches() == before
    with pytest.raises(KeyError), deterministic_algorithms(True):
        raise KeyError
    assert switches() == before


def test_a_workspace_that_the_user_chose_is_kept(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic_algorithms(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_unasked_nothing_is_touched():
    torch.set_deterministic_debug_mode("warn")  # the user's own
    before = switches()
    with deterministic_algorithms(False):
        assert switches() == before
    assert switches() == before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_trial_has_them_while_it_trains_and_evaluates_and_the_next_does_not(trainer):
    seen = []
    one, other = trainer(deterministic=True), trainer()
    for each in (one, other):
        for network in (each.generator, each.averaged):
            network.register_forward_hook(
                lambda *_: seen.append(torch.are_deterministic_algorithms_enabled())
            )
    one.advance()
    one.grid()
    assert len(seen) > 5
    assert all(seen)
    assert switches()[0] == 0
    seen.clear()
    other.advance()
    assert seen
    assert not any(seen)
    ours, theirs = one.generator.state_dict(), other.generator.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs), "on a CPU it changes nothing"


def test_what_has_no_deterministic_algorithm_is_an_error(trainer):
    one = trainer(deterministic=True)
    noise = torch.zeros(4)
    one.generator.register_forward_hook(
        lambda *_: noise.put_(torch.tensor([0]), torch.ones(1), accumulate=False) and None
    )
    with pytest.raises(RuntimeError, match="deterministic"):
        one.advance()
    assert switches()[0] == 0
