"""The sections of the health rules, which end a trial early."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gansearch.study.sections import Positive, Section, Share


class Diverged(Section):
    """When training has blown up. A non-finite loss, gradient, weight or sample always counts.

    Attributes:
        weight_growth: root mean square of a network's weights, as a multiple of its start.
        loss: absolute value of either loss.
    """

    weight_growth: Annotated[float, Field(gt=1)] = 30.0
    loss: Annotated[float, Field(gt=0)] = 1e6


class Collapsed(Section):
    """When the generator has lost its modes for good.

    Modes that are lost come back often. So what is below stops a training early only where it has
    lasted over a third of the budget; else the last reports decide. A training whose samples have
    never differed at all is stopped after the warm-up. Modes are lost, too, where `reach`, as the
    median of three reports, is less than 0.65 of the most that it has been. Whose `reach` has never
    been 0.25 has nothing to lose: neither a small variance nor a worse objective is then a collapse.

    Attributes:
        deaf: variance of the generated pixels, as a share of the real ones', below which a training
            ends as one of a single sample; it stops none early.
        min_diversity: the same share; below it modes are lost, where it has been above it since
            the warm-up.
        worsening: an objective to be minimised has grown to this multiple of the trial's best
            (to be maximised: shrunk by it, from 0.02 or more), and by more than twice its usual ups
            and downs; a Frechet distance by more than 3 % of the real samples' variance, too. It
            counts only where `reach` has fallen below three quarters of its most, or is not
            known. Only for metrics that cannot be negative.
        warmup: share of the budget in which nothing is called a collapse.
        patience: reports in a row that must show it.
    """

    deaf: Annotated[float, Field(ge=0)] = 0.0002
    min_diversity: Annotated[float, Field(ge=0)] = 0.05
    worsening: Annotated[float, Field(gt=1)] | None = 1.5
    warmup: Share = 0.1
    patience: Positive = 2


class Stalled(Section):
    """When one network has won and the other no longer learns.

    While the objective improves by a twentieth nothing is called stalled, and what is must have
    lasted over 10 % of the budget; over 5 % where the discriminator has no gradient left, and over a
    third where it is worse than a guess.

    Attributes:
        min_doubt: the discriminator has won where its `d_doubt`, its loss as a share of an undecided
            one's, is at most this. A Wasserstein critic never has.
        min_error: the generator may have won where the discriminator's error rates on real and on
            fake images are both within this of one half, or of the same answer to all (0 and 1, or 1
            and 0), or of 1; it has won where `min_gradient` holds too. It has also won where the
            discriminator takes all but this share of the fake images for real ones, and its loss is
            more than a guess's.
        min_gradient: the discriminator's gradient norm is at most this share of the largest that
            this trial has shown.
        warmup: share of the budget in which nothing is called stalled.
        patience: reports in a row that must show it.
    """

    min_doubt: Annotated[float, Field(ge=0, lt=1)] = 0.015
    min_error: Annotated[float, Field(ge=0, le=0.5)] = 0.005
    min_gradient: Annotated[float, Field(ge=0)] = 0.01
    warmup: Share = 0.05
    patience: Positive = 2


class Health(Section):
    """The rules that end a trial early; `false` switches one off."""

    diverged: Diverged | Literal[False] = Diverged()
    collapsed: Collapsed | Literal[False] = Collapsed()
    stalled: Stalled | Literal[False] = Stalled()
