"""Adversarial losses and penalties: pure functions of logits, one part one file.

A part is added by its file and one line below; a user's own part needs no line, only its name
`package.module:Thing`. Its options are the keyword-only parameters of its constructor.
`gansearch.testing.check_loss` and `check_penalty` tell whether it keeps the contract.

Importing this package does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from gansearch.errors import UnknownPart
from gansearch.study.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """What the two networks minimise, given logits of shape [..., B]; both methods return [...].

    The mean is taken over the last axis and leading axes stay free, so that replicas stacked on
    a leading axis each get their own loss. Methods are pure: no `backward`, nothing in place.

    Attributes:
        g_uses_real: whether `g` needs the logits of real images (relativistic losses do);
            where False, `g` is called with `real=None` and that forward pass is saved.
        decision: the logit above which the discriminator says "real". None for a critic, which
            has no decision of its own: accuracy is then taken against the midpoint of the two
            mean logits.
    """

    g_uses_real: ClassVar[bool]

    @property
    def decision(self) -> float | None: ...  # noqa: D102

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss. One that draws random numbers takes them as a keyword `draws`, as
        penalties do, and is its expectation without.
        """
        ...

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss."""
        ...


class Penalty(Protocol):
    """A term added to the discriminator's loss, already weighted.

    Takes the critic as a callable from samples to logits [..., B], and real and fake samples of one
    shape; returns [...]. It is differentiable in the critic's parameters and sends no gradient into
    the samples. One that is a `Constraint` too may be constant. Where classes are learnt, the critic
    holds those of the batch: a real and a fake sample in one place are of one class.

    Samples are given as the data have them, images [..., B, C, H, W], points [..., B, D]; to a penalty
    with the attribute `flat = True` always as [..., B, D], so that it serves for any data.

    One that draws random numbers takes them from a keyword `draws: Draws` (`gansearch.losses.draws`),
    and not from torch's global generator, so that a training is the same alone and beside others. One
    for one kind of data alone says so by an attribute `kind = "images"`, and one that takes each
    sample's own slope by `per_sample = True`: it is refused beside batch norm.

    Trainings can be computed as one (`resources.lanes`) with a penalty that has an attribute
    `per_lane`: the options that may then be tensors [...], one value for each training.
    """

    def __call__(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty."""
        ...


@runtime_checkable
class Constraint(Protocol):
    """A penalty that also keeps the discriminator's parameters within bounds has this method."""

    def constrain(self, parameters: Sequence[Tensor]) -> None:
        """Change the trainable parameters in place; called after each of the discriminator's steps,
        without gradients.
        """
        ...


@runtime_checkable
class Observer(Protocol):
    """A penalty that remembers something of the training; its state is part of a checkpoint.

    Where trainings are computed as one, it is given the logits [K, B] of K of them, and a state whose
    tensors have K for their first axis.
    """

    def observe(self, real: Tensor, fake: Tensor) -> None:
        """Take note of the logits [..., B] of an update of the discriminator, after it."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What it remembers."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        ...


LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "non-saturating": "gansearch.losses.non_saturating:NonSaturating",
        "minimax": "gansearch.losses.minimax:Minimax",
        "hinge": "gansearch.losses.hinge:Hinge",
        "least-squares": "gansearch.losses.least_squares:LeastSquares",
        "wasserstein": "gansearch.losses.wasserstein:Wasserstein",
        "relativistic-average": "gansearch.losses.relativistic_average:RelativisticAverage",
        "relativistic-paired": "gansearch.losses.relativistic_paired:RelativisticPaired",
        "vae": "gansearch.losses.vae:VAE",
    },
)


def is_variational(name: str) -> bool:
    """Whether a loss is no game of two networks but that of a variational autoencoder, which is trained
    in another way (`gansearch.losses.vae`). One that cannot be found is none.
    """
    try:
        return bool(getattr(LOSSES.find(name), "variational", False))
    except UnknownPart:
        return False


ADVERSARIAL = tuple(name for name in LOSSES.names if name != "vae")
"""The losses of this package that are a game."""


PENALTIES: Registry[Penalty] = Registry(
    "penalty",
    {
        "gradient-penalty": "gansearch.losses.gradient_penalty:GradientPenalty",
        "zero-centred": "gansearch.losses.zero_centred:ZeroCentred",
        "r1": "gansearch.losses.r1:R1",
        "r2": "gansearch.losses.r2:R2",
        "r1-r2": "gansearch.losses.r1_r2:R1R2",
        "dragan": "gansearch.losses.dragan:DRAGAN",
        "clipping": "gansearch.losses.clipping:Clipping",
        "lecam": "gansearch.losses.lecam:LeCam",
        "consistency": "gansearch.losses.consistency:Consistency",
    },
)
