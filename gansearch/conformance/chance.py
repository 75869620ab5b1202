"""All global randomness moved on, on which nothing that is checked may depend."""

from __future__ import annotations

import random

import numpy as np
import torch


def scatter(seed: int) -> None:
    """Set every global generator of random numbers to something else."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
