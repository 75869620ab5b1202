"""Initial weights by name, as an option of every network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from gansearch.study.sections import later

Init = Annotated[Literal["own", "normal", "orthogonal", "xavier", "kaiming"], later("own")]
Deviation = Annotated[float, Field(gt=0), later(0.02)]


def initialise(network: nn.Module, init: Init, deviation: float) -> None:
    """Draw the weights of all linear and convolutional layers, and set their biases to 0.

    It comes before spectral norm is put on a network: afterwards a layer's weight is one that is
    computed, and what is written into it is lost without a word.

    Args:
        network: freshly built.
        init: `own` leaves it as it is. `normal` is of a standard deviation; `orthogonal` has all
            singular values 1 (Saxe et al. 2014, arXiv 1312.6120); `xavier` is uniform and keeps the
            variance of signals forwards and backwards (Glorot and Bengio 2010); `kaiming` is normal and
            keeps it forwards under a leaky ReLU of slope 0.2 (He et al. 2015, arXiv 1502.01852).
        deviation: of `normal`.
    """
    if init == "own" or any(weight.is_meta for weight in network.parameters()):
        return  # on the meta device there are no numbers: torch would load its compiler to draw none
    for layer in network.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            continue
        if init == "normal":
            nn.init.normal_(layer.weight, 0.0, deviation)
        elif init == "orthogonal":
            nn.init.orthogonal_(layer.weight)
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, a=0.2)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
