"""Points that cover the space more evenly than random ones do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gansearch.search.contract import Past
from gansearch.search.units import value_at
from gansearch.study.axes import Axis
from gansearch.study.location import Point
from gansearch.study.space import Space

DIMENSIONS = 21201
"""What SciPy's table of directions holds."""


class Qmc:
    """A scrambled Sobol sequence (Sobol 1967; Owen 1998): random search without its gaps and clusters.

    Every axis of the study is a dimension, also where it does not exist at a point. A search's seed
    fixes the scrambling, a trial's number the place in the sequence, so nothing is learnt from the
    trials, and several at once never come to lie on each other.

    Args:
        seed: of this proposal; makes no difference, the search's does.
        conditional: makes no difference.
    """

    history = None
    swayed = False

    def __init__(self, seed: int, conditional: bool) -> None:
        pass

    def draws(self, past: Past, space: Space) -> Iterator[Point]:
        """The point of the trial's number."""
        from scipy.stats.qmc import Sobol  # noqa: PLC0415  it loads much of SciPy

        axes = space.axes()
        sequence = Sobol(min(len(axes), DIMENSIONS), scramble=True, rng=past.seed)
        if past.number:  # SciPy refuses to go on by 0
            sequence.fast_forward(past.number)
        units = dict(zip(axes, sequence.random(1)[0], strict=False))

        def suggest(name: str, axis: Axis) -> Any:
            return value_at(axis, float(units[name]))

        yield space.point(suggest)
