"""Samples of any kind as a penalty sees them: numbers in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from gansearch.losses import Penalty


def on_samples(penalty: Penalty, *, flat: bool, leading: int = 1) -> Penalty:
    """A penalty as it is called with samples B x shape, whichever the shape of a sample is; behind so
    many `leading` axes, of which B is the last.

    One that is `flat` is given samples [B, D] and a critic of such; any other is given them as the data
    have them, so that it may know of images.
    """
    if not flat:
        return penalty

    def on_rows(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, **more: Any) -> Tensor:
        shape = real.shape[leading:]
        if len(shape) == 1:
            return penalty(critic, real, fake, **more)

        def of_flat(samples: Tensor) -> Tensor:
            return critic(samples.view(*samples.shape[:-1], *shape))

        return penalty(of_flat, real.flatten(leading), fake.flatten(leading), **more)

    return on_rows
