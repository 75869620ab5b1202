"""Random numbers of one training."""

import pytest
import torch

from gansearch.losses.draws import Draws


@pytest.mark.parametrize("method", ["rand_like", "randn_like"])
def test_they_are_the_same_wherever_the_channels_lie(method):
    """As torch's own are not: images from a convolution have their channels last."""
    images = torch.zeros(4, 3, 8, 8, dtype=torch.float64)
    first, last = (
        getattr(Draws(torch.Generator().manual_seed(0)), method)(each)
        for each in (images, images.to(memory_format=torch.channels_last))
    )
    assert first.dtype == torch.float64
    assert first.shape == images.shape
    assert torch.equal(first, last)
