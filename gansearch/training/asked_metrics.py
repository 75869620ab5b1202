"""The metrics that a configuration asks for: their options filled in, and what is wrong with them."""

from __future__ import annotations

import functools
import json
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from gansearch.data.domain import Domain, Points
from gansearch.errors import RAISED
from gansearch.metrics import METRICS
from gansearch.metrics.contract import Metric
from gansearch.metrics.door import (
    check_metric,
    kind_of,
    least_in,
    least_of_a_class,
    least_samples,
    width_of,
)
from gansearch.study.config import TrialConfig
from gansearch.study.document import Path_
from gansearch.study.mistakes import Mistakes
from gansearch.study.sections import Part
from gansearch.training import settings
from gansearch.training.buildable import discriminator_of, words_of
from gansearch.training.building import is_conditional


def complete_metrics(
    measured: dict[str, Any], here: Path_, domain: Domain | None, kind: str
) -> Mistakes:
    """Give a section's metrics the defaults of their options; returns what is wrong with them.

    Args:
        measured: the section, `evaluation` or its `final`, which is changed.
        here: its place.
        domain: what the data are; None where they cannot be had.
        kind: of the data, "images" or "points".
    """
    metrics, mistakes = measured["metrics"], list[tuple[Path_, str]]()
    for i, metric in enumerate(metrics):
        place = (*here, "metrics", i)
        wrong = settings.changed_by_import(metric["name"]) or METRICS.complete(metric)
        more = [((*place, *below), told) for below, told in wrong]
        mistakes += more or _wrong_metric(metric, place)
    amiss = [
        *_repeated(metrics),
        *_misplaced(metrics, domain, kind),
        *_too_few_samples(measured, domain),
    ]
    return mistakes + [((*here, *below), message) for below, message in amiss]


def _wrong_metric(metric: dict[str, Any], path: Path_) -> Mistakes:
    """What only making a metric shows."""
    try:
        _made(metric)
    except RAISED as error:  # one of the user's own may raise anything
        return [(path, words_of(error))]
    return []


def _made(part: dict[str, Any]) -> Metric:
    """A metric, to be looked at; raises whatever making it raises."""
    options = {key: value for key, value in part.items() if key != "name"}
    return _made_once(part["name"], json.dumps(options, default=str))


@functools.lru_cache(maxsize=256)  # the corners of a search space share their metrics
def _made_once(name: str, options: str) -> Metric:
    with settings.left_alone(f"the metric '{name}', as it is made,"):
        return check_metric(name, METRICS.build(name, json.loads(options)))


def _too_few_samples(evaluation: dict[str, Any], domain: Domain | None) -> Mistakes:
    """The sides of the comparison that have fewer samples than a metric needs, by the neediest."""
    parts = {part["name"]: _built_metric(part) for part in evaluation["metrics"]}
    built = {name: metric for name, metric in parts.items() if metric is not None}
    raw = math.prod(domain.shape) if domain is not None else None
    needs = {
        name: least_in(metric, raw if metric.features is None else width_of(metric.features))
        for name, metric in built.items()
    }
    compared = {name: least_samples(m) for name, m in built.items() if m.compares_real}
    mistakes: Mistakes = []
    for key, asking in (("samples", needs), ("real_samples", compared)):
        name = max(asking, key=lambda each: asking[each], default=None)
        if name is not None and evaluation[key] is not None and evaluation[key] < asking[name]:
            told = {k: v for k, v in _options_of(evaluation, name).items() if isinstance(v, int)}
            why = f" with {', '.join(f'{k}: {v}' for k, v in told.items())}" if told else ""
            mistakes.append(((key,), f"{name}{why} needs at least {asking[name]:,}"))
    return mistakes


def _options_of(evaluation: dict[str, Any], name: str) -> dict[str, Any]:
    part = next(part for part in evaluation["metrics"] if part["name"] == name)
    return {key: value for key, value in part.items() if key != "name"}


def _built_metric(part: dict[str, Any]) -> Metric | None:
    """A metric; None where it cannot be made or is none, which is told elsewhere."""
    try:
        return _made(part)
    except RAISED:  # of the user's own
        return None


def _repeated(metrics: list[dict[str, Any]]) -> Mistakes:
    names = [part["name"] for part in metrics]
    return [
        (("metrics", i), f"the metric '{name}' is asked for twice")
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def _misplaced(metrics: list[dict[str, Any]], domain: Domain | None, kind: str) -> Mistakes:
    """Metrics that are for other data than these."""
    mistakes: Mistakes = []
    for i, part in enumerate(metrics):
        name, metric = part["name"], _built_metric(part)
        if metric is None:
            continue
        wanted, instead = kind_of(metric), "fd_classifier" if kind == "images" else "fd_raw"
        if wanted not in (None, kind):
            instead = "features: raw" if "features" in part else instead
            why = f"{name} is a measure of {wanted}, and the data are {kind}: ask for {instead}"
            mistakes.append((("metrics", i), why))
        elif (
            isinstance(domain, Points)
            and not domain.modes
            and getattr(metric, "features", "") == "mixture"
        ):
            why = (
                f"{name} counts the modes of a known mixture, which these data are not: ask for fd_raw"
            )
            mistakes.append((("metrics", i), why))
    return mistakes


MOST_SAMPLES = 10_000_000
LACKING = 0.01
"""The chance with which a training may lack samples of a class: where it is larger, a metric that needs
some of each has no value too often."""


def scarce(config: TrialConfig, domain: Domain | None) -> Mistakes:
    """Where so few samples are made that some class is likely to have fewer than a metric needs."""
    evaluation = config.evaluation
    sections: dict[Path_, tuple[list[Part], int]] = {
        ("evaluation",): (evaluation.metrics, evaluation.samples)
    }
    if (final := evaluation.final) is not None:
        sections[("evaluation", "final")] = final.metrics, final.samples
    mistakes: Mistakes = []
    for here, (parts, samples) in sections.items():
        built = {part.name: _built_metric(part.model_dump()) for part in parts}
        needs = {name: least_of_a_class(metric) for name, metric in built.items() if metric is not None}
        name = max(needs, key=lambda each: needs[each], default="")
        counts = [count for count in domain.counts if count] if domain is not None else []
        if not counts or not name or _lacking(counts, samples, needs[name]) <= LACKING:
            continue
        tried = range(MOST_SAMPLES)
        enough = bisect_left(tried, -LACKING, key=lambda n: -_lacking(counts, n, needs[name]))
        each = samples * min(counts) / sum(counts)
        why = (
            f"{name} needs {needs[name]} of each class, and of {samples:,} the rarest of "
            f"{len(counts):,} classes has {each:.2g} on average: ask for {enough:,}"
        )
        mistakes.append(((*here, "samples"), why))
    return mistakes


def _lacking(counts: Sequence[int], samples: int, least: int) -> float:
    """At most the chance that, of so many samples drawn as often as each class is in the data, one of
    the classes has fewer than `least`: their numbers are nearly Poisson's.
    """
    due = [samples * count / sum(counts) for count in counts]
    return sum(math.exp(-mean) * sum(mean**k / math.factorial(k) for k in range(least)) for mean in due)


def unconditional(config: TrialConfig, domain: Domain | None) -> Mistakes:
    """Metrics of a generator that is told the classes, where there is none."""
    evaluation = config.evaluation
    final = evaluation.final.metrics if evaluation.final else []
    told = [
        ((*here, "metrics", i), part.name)
        for here, parts in ((("evaluation",), evaluation.metrics), (("evaluation", "final"), final))
        for i, part in enumerate(parts)
        if getattr(_built_metric(part.model_dump()), "conditional", False)
    ]
    judge = discriminator_of(config, domain) if told else None
    if judge is None or is_conditional(judge):
        return []
    why = "is about classes that were asked for: the networks must be told them (conditional: true)"
    return [(place, f"{name} {why}") for place, name in told]
