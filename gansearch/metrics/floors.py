"""What real samples themselves get: beneath it no generator can be expected to come.

Of finitely many samples a Frechet distance is far from 0 even between two halves of one data set, a
recall is below 1. So beside a metric's value stands that of real samples, at the same counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansearch.errors import DataError
from gansearch.metrics.contract import Activations, Metric
from gansearch.metrics.passes import of_real, values_of


class Shown:
    """Real samples as one extractor sees them, none of which it is shown twice.

    Args:
        samples: all of the data set's, as they are stored.
        compared: rows, those that the metrics compare with.
        look: the extractor.
        labels: the samples' classes, if they have any.
    """

    def __init__(
        self,
        samples: np.ndarray,
        compared: np.ndarray,
        look: Callable[[Tensor], Activations],
        labels: np.ndarray | None = None,
    ) -> None:
        self.compared = compared
        self._labels = labels
        self.count = len(samples)
        self._samples, self._look = samples, look
        self._rows = compared[:0]
        self._seen: Activations | None = None

    def of(self, rows: np.ndarray) -> Activations:
        """The activations of these rows, in their order, with their labels."""
        seen = self._of(rows)
        if self._labels is None:
            return seen
        labels = torch.from_numpy(self._labels[rows]).to(seen.features.device)
        return seen._replace(labels=labels)

    def _of(self, rows: np.ndarray) -> Activations:
        new = rows[~np.isin(rows, self._rows)]
        if len(new):
            looked = self._look(torch.from_numpy(self._samples[new]))
            self._seen = looked if self._seen is None else _joined(self._seen, looked)
            self._rows = np.concatenate([self._rows, new])
        assert self._seen is not None
        if np.array_equal(rows, self._rows):
            return self._seen
        places = np.empty(self.count, dtype=np.int64)
        places[self._rows] = np.arange(len(self._rows))
        return _picked(self._seen, torch.from_numpy(places[rows]))


def floors(
    group: Mapping[str, Metric], known: Mapping[str, Tensor], shown: Shown, samples: int
) -> dict[str, dict[str, Any]]:
    """The value of real samples for each of some metrics that are made in one pass.

    Where the data set has so many samples besides those that are compared with, the counts are a
    report's. Else the latter are divided in two, of which the smaller has at most `samples`.

    Args:
        group: the metrics, by name.
        known: what they know of the real samples.
        shown: these.
        samples: how many generated ones are measured.

    Returns:
        By name: value, None where there is none; samples and real_samples, the counts of the two sides
        (the latter 0 where none are compared with). Nothing where there are too few real samples.
    """
    compares = any(metric.compares_real for metric in group.values())
    apart, others = _two_sides(shown, samples)
    try:
        if others is not None and compares:
            known = of_real(group, shown.of(others))
        found = values_of(group, shown.of(apart), known)
    except (ValueError, DataError):  # too few for one of these metrics
        return {}
    against = len(shown.compared if others is None else others) if compares else 0
    return {
        name: {
            "value": value if math.isfinite(value) else None,
            "samples": len(apart),
            "real_samples": against,
        }
        for name, value in found.items()
    }


def _two_sides(shown: Shown, samples: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows that stand for generated samples; and those to compare with, None for `shown.compared`."""
    random = np.random.default_rng(1)  # 0 has chosen those that are compared with
    rest = np.setdiff1d(np.arange(shown.count), shown.compared)
    if len(rest) >= samples:
        return np.sort(random.choice(rest, samples, replace=False)), None
    mixed = random.permutation(shown.compared)
    size = min(samples, len(mixed) // 2)
    return np.sort(mixed[:size]), np.sort(mixed[size:])


def _joined(first: Activations, second: Activations) -> Activations:
    p, q = first.probabilities, second.probabilities
    features = torch.cat([first.features, second.features])
    return Activations(features, None if p is None or q is None else torch.cat([p, q]))


def _picked(seen: Activations, rows: Tensor) -> Activations:
    here, p = rows.to(seen.features.device), seen.probabilities
    return Activations(seen.features[here], None if p is None else p[here])
