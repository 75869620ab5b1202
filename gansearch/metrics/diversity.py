"""How much samples differ from one another, in pixels: it needs no network and costs nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from gansearch.errors import DataError
from gansearch.metrics.contract import Activations, Goal, RealStatistics

CHUNK = 1024  # images converted to float64 at a time


class Diversity:
    """The total variance of the fake samples' numbers divided by that of the real ones'.

    About 1 for a healthy generator, 0 for one that ignores its noise, above 1 for one that is
    noisier than the data. It says nothing of quality: read it beside a Frechet distance.
    """

    features: str | None = None
    goal: Goal = "max"
    compares_real = True
    least_samples = 2

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The total variance; raises `DataError` if all real images are the same. Of points all of
        which are one it is 0: there is nothing to vary, and the diversity is 1 whatever is drawn.
        """
        variance = total_variance(real.features)
        if variance == 0 and not real.features.is_floating_point():
            raise DataError("the data set's images are all the same: diversity has no meaning")
        return {"variance": variance}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """0 or more; raises `ValueError` for fewer than 2 samples."""
        made = total_variance(fake.features)
        if real["variance"] > 0 or made.isnan():
            return float(made / real["variance"])
        return 1.0


def total_variance(pixels: Tensor) -> Tensor:
    """The sum over P pixels of their variance (divided by N - 1) in N x P pixels, float64.

    Raises:
        ValueError: for fewer than 2 images.
    """
    if len(pixels) < 2:
        raise ValueError(f"a variance needs at least 2 samples, not {len(pixels)}")
    mean = pixels.mean(0, dtype=torch.float64)
    squares = [(chunk.double() - mean).square().sum() for chunk in torch.split(pixels, CHUNK)]
    return torch.stack(squares).sum() / (len(pixels) - 1)
