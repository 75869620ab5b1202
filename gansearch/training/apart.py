"""Which of a study's trainings run alone, or uncompiled, and for which of their parts, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from gansearch.data.domain import Domain
from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.training.compiled.why import whys_uncompiled
from gansearch.training.stacked.proof import why_unlike
from gansearch.training.stacked.shape import whys_alone


def apart(configs: Sequence[TrialConfig], resources: Resources, domain: Domain) -> list[str]:
    """A line for each reason why some of these are not trained as is asked for; none where all are.

    Args:
        configs: of a study.
        resources: whose `lanes` and `compile` say what is asked for.
        domain: what is learnt, on which networks of the user's own are tried.
    """
    lines: list[str] = []
    if resources.lanes != 1:
        lines += _lines("runs alone", (_whys_alone(each, domain) for each in configs), len(configs))
    if resources.compile:
        lines += _lines("runs uncompiled", map(whys_uncompiled, configs), len(configs))
    return lines


def _whys_alone(config: TrialConfig, domain: Domain) -> list[str]:
    return whys_alone(config) or list(filter(None, [why_unlike(config, domain)]))


def _lines(what: str, reasons: Iterable[list[str]], count: int) -> Iterator[str]:
    counted = Counter(reason for found in reasons for reason in dict.fromkeys(found))
    for reason, times in counted.items():
        some = "" if times == count else f" ({times} of {count} configurations)"
        yield f"{what}, because of {reason}{some}"
