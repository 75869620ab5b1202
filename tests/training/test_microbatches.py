"""Micro-batches: the same training in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gansearch.study.records import Outcome
from gansearch.training import checkpoint

BARE = {"name": "mlp", "depth": 2, "width": 16, "norm": "none"}
R1 = {"name": "non-saturating", "penalty": {"name": "r1", "weight": 0.5}}


def sections(**changes):
    return {"generator": BARE, "discriminator": BARE, "loss": R1} | changes


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer


def weights(trainer):
    networks = (trainer.generator, trainer.discriminator, trainer.averaged)
    return {(n, k): v for n, net in enumerate(networks) for k, v in net.state_dict().items()}


@pytest.mark.parametrize("changes", [{}, {"discriminator_steps": 3}, {"batch_size": 18, "ema": None}])
@pytest.mark.parametrize("pieces", [2, 4, 8])
def test_an_update_is_that_of_the_whole_batch(trainer, changes, pieces):
    whole, split = trainer(**sections(**changes)), trainer(**sections(**changes))
    split.split(pieces)
    run_out(whole), run_out(split)
    ours, theirs = weights(split), weights(whole)
    start = weights(trainer(**sections(**changes)))
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        torch.testing.assert_close(ours[key], expected, rtol=1e-3, atol=2e-5)
    moved = max((theirs[key] - start[key]).abs().max() for key in theirs)
    assert moved > 100 * 2e-5, "what is compared is not the start"
    for ours, theirs in zip(split.reports, whole.reports, strict=True):
        assert (ours.step, ours.images, ours.outcome) == (theirs.step, theirs.images, theirs.outcome)
        for name in ("d_loss", "g_loss", "d_grad_norm", "g_grad_norm", "d_doubt", "d_accuracy"):
            assert ours.metrics[name] == pytest.approx(theirs.metrics[name], rel=1e-3, abs=1e-5), name


def test_no_graph_is_of_more_than_a_piece(trainer):
    one = trainer(**sections(discriminator_steps=2, batch_size=22))
    one.split(4)
    sizes = {"generator": [], "discriminator": []}

    def watch(name):
        def note(_, inputs, __):
            if torch.is_grad_enabled():
                sizes[name].append(len(inputs[0]))

        getattr(one, name).register_forward_hook(note)

    for name in sizes:
        watch(name)
    one._train_to(1)
    assert sizes["generator"] == [6, 6, 5, 5], "made again for its update, and kept for no other"
    assert max(sizes["discriminator"]) == 6


@pytest.mark.parametrize("turns", [1, 3])
def test_running_averages_reach_back_over_as_many_steps(trainer, turns):
    one = trainer(discriminator_steps=turns, ema=None)
    [norm] = [m for m in one.generator.modules() if isinstance(m, nn.BatchNorm1d)]
    passes = []
    norm.register_forward_hook(lambda *_: passes.append(norm.momentum) if norm.training else None)
    for pieces in (1, 4, 1):
        one.split(pieces)
        passes.clear()
        one._train_to(one.step + 1)
        forgotten = 1.0
        for momentum in passes:
            forgotten *= 1 - momentum
        assert forgotten == pytest.approx(0.9**turns)


@pytest.mark.parametrize("penalty", ["gradient-penalty", "dragan"])
def test_what_sees_the_batch_or_draws_for_it_trains_too(trainer, penalty):
    loss = {"name": "wasserstein", "penalty": {"name": penalty}}
    changes = {"loss": loss, "discriminator": BARE | {"norm": "layer"}, "precision": "bfloat16"}
    whole = run_out(trainer(**changes))
    split = trainer(**changes)
    split.split(2)
    run_out(split)
    for name in ("d_loss", "g_loss", "d_grad_norm"):
        ours, theirs = (sum(r.metrics[name] for r in each.reports) / 4 for each in (split, whole))
        assert ours == pytest.approx(theirs, rel=0.3, abs=0.1), name


def test_it_goes_on_bit_for_bit_from_a_checkpoint(trainer, tmp_path):
    whole = trainer()
    whole.advance()
    whole.split(4)
    whole.advance()
    checkpoint.save(tmp_path, whole.step, whole.state())
    run_out(whole)
    again = trainer()
    again.load(checkpoint.latest(tmp_path))
    assert again.microbatches == 4
    run_out(again)
    ours, theirs = weights(again), weights(whole)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_checkpoint_from_before_there_were_any_is_of_whole_batches(trainer):
    state = trainer().state()
    del state["microbatches"], state["config"]["precision"], state["config"]["deterministic"]
    one = trainer()
    one.load(state)
    assert one.microbatches == 1


def test_reports_say_since_when_and_the_last_one_why(trainer):
    one = trainer()
    one.advance()
    one.split(2)
    last = run_out(one).reports[-1]
    assert [r.metrics.get("microbatches") for r in one.reports] == [None, 2.0, 2.0, 2.0]
    assert last.outcome is Outcome.COMPLETED
    assert last.reason == "its batches of 16 were computed in 2 pieces"
    assert "microbatches" in one.provenance()
    assert "microbatches" not in trainer().provenance()


@pytest.mark.parametrize("pieces", [9, 16, 64])
def test_a_piece_has_two_images_at_least(trainer, pieces):
    with pytest.raises(ValueError, match="micro-batches"):
        trainer().split(pieces)


def test_samples_are_the_same_however_many_are_made_at_once(trainer):
    one = trainer()
    one.advance()
    whole = one.generate(300, seed=3)
    passes = []
    one.averaged.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    one.split(8)
    assert (one.generate(300, seed=3).int() - whole.int()).abs().max() <= 1
    assert max(passes) == 256 / 8, "in an eighth of the memory"


def test_a_training_of_one_pack_at_a_time_goes_on_from_a_checkpoint(trainer):
    one, two = (trainer(**sections(discriminator=BARE | {"pack": 2}, batch_size=2)) for _ in range(2))
    one.advance()
    two.load(one.state())
    assert two.advance().step == 10
