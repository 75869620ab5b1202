"""Does a part keep all that it knows where a checkpoint finds it?

A network is made again from its weights and buffers, when a trial goes on and where an export is
sampled from; of losses and penalties a checkpoint has what an `Observer` tells. What a part remembers
elsewhere, a count in an attribute or random features that are no buffer, is another's or nobody's after
that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.errors import RAISED
from gansearch.losses import Loss, Observer
from gansearch.losses.draws import Draws, drawing_from
from gansearch.losses.flat import on_samples
from gansearch.training.randomness import seeded

CPU = torch.device("cpu")

SAMPLES = 4
"""That losses and penalties are tried on."""

MEND = "keep what it must remember in buffers, `self.register_buffer(...)`"
OF_PENALTY = "give it `observe`, `state_dict` and `load_state_dict`"
OF_LOSS = "compute it of what it is given alone"
BETWEEN = "remembers something from one call to the next, which no checkpoint holds"


def why_not_loaded(network: nn.Module, twin: nn.Module) -> str:
    """Have a twin go on from where a network is; returns why it cannot, in words, and else nothing.

    Args:
        network: that has been trained, if only for a step.
        twin: one of the same kind, built under another seed.
    """
    try:
        twin.load_state_dict(network.state_dict())
    except RAISED as error:
        _, *lines = str(error).split("\n\t")
        why = lines[0] if lines else f"{type(error).__name__}: {error}"
        return f"cannot go on from what it has saved: {why.strip().rstrip('.')}"
    return ""


@torch.no_grad()
def lost_of_network(network: nn.Module, twin: nn.Module, inputs: Sequence[Tensor]) -> str:
    """What of a network is not in its `state_dict`, in words; empty where nothing is seen.

    Args:
        network: that has been trained, if only for a step.
        twin: that has loaded its state (`why_not_loaded`).
        inputs: of a pass.
    """
    before = _counts(network)
    for training in (True, False):
        found, expected = (_pass(each.train(training), inputs) for each in (twin, network))
        if not _alike(found, expected):
            return f"has a state that no checkpoint or export holds: {MEND}"
    ours, theirs = _counts(network), _counts(twin)
    if odd := [name for name, now in ours.items() if before.get(name) != now != theirs.get(name)]:
        return f"counts in '{odd[0]}', which no checkpoint or export holds: {MEND}"
    return ""


def forgotten(networks: Sequence[nn.Module], inputs: Sequence[Tensor]) -> str:
    """The same of a network that is yet to be trained, by a pass in training; they stay as they are.

    Args:
        networks: two of one kind, built under different seeds.
        inputs: of a pass.
    """
    network, twin = (copy.deepcopy(each) for each in networks[:2])
    network(*inputs)
    return why_not_loaded(network, twin) or lost_of_network(network, twin, inputs)


def _pass(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    with seeded(0, CPU):
        outputs: Tensor = network(*[each.clone() for each in inputs])
    return outputs


def _counts(network: nn.Module) -> dict[str, float]:
    """Plain numbers among the attributes of a network and its modules, by their place."""
    return {
        f"{name}.{key}".lstrip("."): value
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, int | float)
    }


def lost_of_loss(loss: Loss) -> str:
    """How a loss remembers what it was called with, in words; empty where it does not.

    Args:
        loss: freshly built.
    """

    def both(real: Tensor, fake: Tensor) -> list[Tensor]:
        real, fake = real.clone(), fake.clone()
        with seeded(0, CPU):
            d = drawing_from(Draws(_chance()), loss.d)(real, fake)
            return [d, loss.g(real if loss.g_uses_real else None, fake)]

    real, fake = _drawn(seed=1), _drawn(seed=2)
    before = both(real, fake)
    both(2 * fake - 1, 3 * real)
    same = all(map(_alike, both(real, fake), before))
    return "" if same else f"{BETWEEN}: {OF_LOSS}"


def lost_of_penalty(make: Callable[[], Any], shape: Sequence[int]) -> str:
    """The same of a penalty; of one that is an `Observer`, what its state does not hold.

    Args:
        make: builds it.
        shape: of a sample.
    """
    real, fake, weight = (_drawn(*shape, seed=seed) for seed in (1, 2, 3))
    weight = weight[0].requires_grad_()

    def critic(samples: Tensor) -> Tensor:
        return (weight * samples.square()).flatten(-len(shape)).sum(-1)

    def of(penalty: Any, real: Tensor, fake: Tensor) -> Tensor:
        drawing = drawing_from(Draws(_chance()), penalty)
        called = on_samples(drawing, flat=bool(getattr(penalty, "flat", False)))
        with seeded(0, CPU):
            return torch.as_tensor(called(critic, real.clone(), fake.clone()))

    penalty = make()
    before = of(penalty, real, fake)
    of(penalty, fake, real / 2)
    if not isinstance(penalty, Observer):
        same = _alike(of(penalty, real, fake), before)
        return "" if same else f"{BETWEEN}: {OF_PENALTY}"
    penalty.observe(critic(real).detach(), critic(fake).detach())
    twin = make()
    twin.load_state_dict({key: value.clone() for key, value in penalty.state_dict().items()})
    same = _alike(of(twin, real, fake), of(penalty, real, fake))
    return "" if same else "remembers something that its `state_dict` does not hold"


def _drawn(*shape: int, seed: int) -> Tensor:
    """Numbers [B, ...]."""
    return torch.randn(SAMPLES, *shape, generator=torch.Generator().manual_seed(seed)).tanh()


def _chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _alike(one: Tensor, other: Tensor) -> bool:
    pair = [torch.as_tensor(each).detach().double() for each in (one, other)]
    same = pair[0].shape == pair[1].shape
    return same and torch.allclose(pair[0], pair[1], rtol=1e-4, atol=1e-5, equal_nan=True)
