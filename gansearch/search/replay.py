"""Policies played against what a study has recorded: what would another sampler or pruner have done?"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gansearch.errors import InvalidInput, Problem, UserError, listed
from gansearch.journal.journal import Journal
from gansearch.search import PRUNERS, SAMPLERS
from gansearch.search.recording import Recording, recording_of
from gansearch.search.simulation import Played, Recorded, Simulation, StandIns, within
from gansearch.study.axes import as_written
from gansearch.study.config import TrialConfig
from gansearch.study.document import dotted
from gansearch.study.learnt import LEARNT, Learnt
from gansearch.study.location import NotInSpace, placed
from gansearch.study.mistakes import Mistakes, validate
from gansearch.study.notation import parse_space
from gansearch.study.plan import Plan, Pruner, Sampler
from gansearch.study.records import Outcome, Report, TrialRecord, cost, count
from gansearch.study.sections import Part, with_options
from gansearch.study.space import Space
from gansearch.study.spec import StudySpec
from gansearch.study.starting import StartPoint

NEAR = 0.05
"""How near to the recorded best a search has to come."""

FEW = 8
"""Trials below which nothing is told of ranks: their best third is fewer than the best three."""

ALIKE = 1.1
"""Policies whose medians differ by no more than this factor are alike."""

DOUBT = 0.05
"""How often policies that are the same may be told apart, where one is compared with all others."""

KEPT = 0.9
"""The share of the best trials that a report has to have in its best third so as to be trusted."""


@dataclass(frozen=True)
class Policy:
    """How trials are chosen and stopped.

    Attributes:
        sampler: None: the recorded trials come in their own order.
        pruner: who stops or pauses them.
    """

    sampler: Sampler | None
    pruner: Pruner

    @property
    def label(self) -> str:
        """`tpe + asha (second_chances: true)`, `recorded + none`."""
        return f"{_words(self.sampler) if self.sampler else 'recorded'} + {_words(self.pruner)}"


@dataclass(frozen=True)
class Result:
    """What a policy did, each number a list with one value for each repetition.

    Attributes:
        policy: who played.
        plays: what happened.
        reached: device-seconds to within `NEAR` of the best that was recorded; infinite: never.
    """

    policy: Policy
    plays: tuple[Played, ...]
    reached: tuple[float, ...]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Of `reached`."""
        return quartiles(self.reached)

    @property
    def spent(self) -> float:
        """Device-seconds of a whole search, busy or not: the median of the plays."""
        return statistics.median(play.seconds * play.workers for play in self.plays)

    @property
    def found(self) -> float:
        """The best objective when a search ended: the median of the plays that found any; or NaN."""
        bests = [play.best[-1][1] for play in self.plays if play.best]
        return statistics.median(bests) if bests else math.nan

    def against(self, other: Result) -> tuple[int, int, int]:
        """In how many plays it was sooner than another policy on the same seed, and in how many later,
        of how many; one play without chance is held against all of the other's.
        """
        pairs = list(zip(*np.broadcast_arrays(self.reached, other.reached), strict=True))
        return sum(a < b for a, b in pairs), sum(a > b for a, b in pairs), len(pairs)

    @property
    def lost(self) -> float:
        """Trials that it would have trained further than they were recorded, the mean of its plays.

        What it would have paid for them nobody knows, so it seems faster than it is.
        """
        return statistics.fmean(play.cut for play in self.plays)


@dataclass(frozen=True)
class Rank:
    """What the ranks at one report say of the ranks at the end.

    Attributes:
        step: of the report.
        share: of the budget.
        correlation: Spearman's, of the best objective so far with that at the end; NaN of few trials.
        kept: how many of the best tenth at the end, three at least, are in the best third here;
            NaN of few trials.
    """

    step: int
    share: float
    correlation: float
    kept: float


@dataclass(frozen=True)
class Replay:
    """What policies did with a recorded study.

    Attributes:
        metric: the objective.
        recording: what there was to train on.
        workers: simulated ones.
        results: of the policies, in the order in which they were named.
        ranks: of the trials that ended by themselves, at each report.
        notes: what one has to know, in words.
        advice: what to choose for the next study, in a sentence.
    """

    metric: str
    recording: Recording = field(repr=False)
    workers: int
    results: tuple[Result, ...] = field(repr=False)
    ranks: tuple[Rank, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    advice: str = ""

    @property
    def trusted(self) -> int | None:
        """The first step from which on the best third holds the trials that end best; None: at none
        before the end, or nobody knows.
        """
        found = None
        for rank in reversed(self.ranks[:-1]):
            if math.isnan(rank.correlation) or rank.kept < KEPT:
                break
            found = rank.step
        return found


@dataclass
class Regret:
    """How far the best objective so far is from the recorded best, over device-seconds.

    Attributes:
        seconds: the grid, shape [N].
        low, middle, high: quartiles over the repetitions of the regret, shape [N]; infinite where
            nothing was known yet.
    """

    seconds: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray


def replay(
    journal: Journal,
    policies: Sequence[Policy],
    *,
    workers: int = 2,
    repeats: int = 20,
    note: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Play policies against a study's search.

    Args:
        journal: of the search.
        policies: at least one.
        workers: trials at once.
        repeats: plays of each policy, whose search seeds are 0, 1, ...; one where trials come as they
            were recorded, since nothing is left to chance.
        note: called with each policy's label before it is played.

    Raises:
        UserError: nothing was recorded that could be played against.
    """
    spec = stored_spec(journal)
    records = journal.trials()
    recording = recording_of(records, spec.space.axes(), journal.metric, journal.goal)
    if not recording.curves or math.isnan(recording.best):
        raise UserError(
            "no trial of this study has reported a finite objective: nothing can be replayed"
        )
    for curve in recording.curves:
        try:
            placed(curve.point, spec.space)
        except NotInSpace as error:
            raise UserError(
                f"trial {curve.number} lies nowhere in the search space of its study: {error}"
            ) from error
    results = []
    for policy in policies:
        note(policy.label)
        seeds = range(repeats if policy.sampler else 1)
        plays = [play(spec, recording, policy, workers, seed) for seed in seeds]
        results.append(judged(policy, plays, recording))
    ranks = tuple(ranks_of(recording))
    found = Replay(journal.metric, recording, workers, tuple(results), ranks)
    return replace(found, notes=tuple(_notes(found, spec, records)), advice=_advice(found))


def play(
    spec: StudySpec,
    recording: Recording,
    policy: Policy,
    workers: int,
    seed: int,
    until: Callable[[float], bool] = lambda _: False,
) -> Played:
    """One search with a policy, on a simulated clock."""
    search = {"sampler": policy.sampler, "seed": seed} if policy.sampler else {}
    plan = spec.plan.model_copy(
        update={"search": spec.plan.search.model_copy(update=search), "pruner": policy.pruner}
    )
    played = replace(spec, plan=plan)
    source = StandIns(played, recording) if policy.sampler else Recorded(played, recording)
    return Simulation(played, source, recording, workers=workers).run(until)


def judged(policy: Policy, plays: Sequence[Played], recording: Recording) -> Result:
    """When the plays of a policy came near the best."""
    near = within(recording, NEAR)
    return Result(policy, tuple(plays), tuple(played.reached(near) for played in plays))


def stored_spec(journal: Journal) -> StudySpec:
    """A stored study as its trials were proposed; its data are not needed."""
    tree = journal.asked
    mistakes: Mistakes = []
    plan = validate(Plan, {k: v for k, v in tree.items() if k in Plan.model_fields}, mistakes)
    space, more = parse_space({k: v for k, v in tree.items() if k in TrialConfig.model_fields})
    if problems := [Problem(dotted(path), words) for path, words in [*mistakes, *more]]:
        raise InvalidInput(f"the study file of '{journal.study.study_name}', as launched", problems)
    begun = itertools.takewhile(lambda trial: trial.origin, journal.trials())
    start = tuple(StartPoint(trial.origin, trial.params) for trial in begun)
    learnt = tuple(map(Learnt.of_plain, journal.facts.get(LEARNT, [])))
    return StudySpec(plan, Space(space), start=start, learnt=learnt)


def policies_of(
    samplers: Sequence[Sampler | None], pruners: Sequence[Pruner], config: TrialConfig
) -> list[Policy]:
    """Every sampler with every pruner, each once.

    Raises:
        UserError: there is no such part, or it does not take its options.
    """
    mistakes = [
        f"--{flag} {_words(part)}: {'' if path == ('name',) else dotted(path) + ': '}{words}"
        for flag, registry, parts in (("sampler", SAMPLERS, samplers), ("pruner", PRUNERS, pruners))
        for part in parts
        if part is not None
        for path, words in registry.check(part.name, part.options)
    ]
    for pruner in [] if mistakes else pruners:
        try:
            PRUNERS.build(pruner.name, pruner.options, config)
        except ValueError as error:
            mistakes.append(f"--pruner {_words(pruner)}: {error}")
    if mistakes:
        raise UserError("; ".join(dict.fromkeys(mistakes)))
    named = [Policy(sampler, pruner) for sampler in samplers for pruner in pruners]
    return [policy for at, policy in enumerate(named) if policy not in named[:at]]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, each one of the values; infinity counts as large."""
    ordered = sorted(values)
    at = [ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.25, 0.5, 0.75)]
    return at[0], at[1], at[2]


def regret(result: Result, recording: Recording, points: int = 200) -> Regret:
    """A policy's regret over time."""
    ends = [played.seconds * played.workers for played in result.plays]
    grid = np.linspace(0, max(ends), points)
    best, goal = cost(recording.best, recording.goal), recording.goal
    rows = []
    for played in result.plays:
        times = np.array([at * played.workers for at, _ in played.best])
        costs = np.array([math.inf] + [cost(value, goal) for _, value in played.best])
        rows.append(costs[np.searchsorted(times, grid, side="right")] - best)
    ordered = np.sort(np.array(rows), axis=0)
    low, middle, high = (ordered[min(int(q * len(rows)), len(rows) - 1)] for q in (0.25, 0.5, 0.75))
    return Regret(grid, low, middle, high)


def ranks_of(recording: Recording) -> Iterator[Rank]:
    """What each report's ranks say of the end's, of the trials that ended by themselves."""
    curves = [curve for curve in recording.curves if curve.whole]
    steps = sorted({report.step for curve in curves for report in curve.reports})
    table = np.array([_best_so_far(recording, curve.reports, steps) for curve in curves])
    if not len(table):
        return
    end = table[:, -1]
    known = np.isfinite(end)
    best = np.argsort(end, kind="stable")[: max(3, math.ceil(known.sum() / 10))]
    for at, step in enumerate(steps):
        here = table[:, at]
        third = np.argsort(here, kind="stable")[: math.ceil(len(curves) / 3)]
        told = len(curves) >= FEW
        correlation = spearman(here, end) if told else math.nan
        kept = float(np.isin(best, third).mean()) if told else math.nan
        yield Rank(step, step / steps[-1], correlation, kept)


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; NaN where one is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415  it loads much of SciPy

    ranks = [rankdata(values) for values in (one, other)]
    if any(np.ptp(values) == 0 for values in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _best_so_far(recording: Recording, reports: Sequence[Report], steps: Sequence[int]) -> list[float]:
    """A curve's least cost up to each step; infinite while none is finite."""
    costs, least = [], math.inf
    coming = iter([*reports, None])
    report = next(coming)
    for step in steps:
        while report is not None and report.step <= step:
            value = report.metrics.get(recording.metric, math.nan)
            if math.isfinite(value):
                least = min(least, cost(value, recording.goal))
            report = next(coming)
        costs.append(least)
    return costs


def _notes(found: Replay, spec: StudySpec, records: Sequence[TrialRecord]) -> Iterator[str]:
    played = len(found.recording.curves)
    if cut := list(_cut_short(found.recording, spec, records)):
        yield (
            f"{' and '.join(cut)}, of {played}: nobody knows how they would have gone on, so a policy "
            "that would train them further loses them there, and ranks are those of the others alone. "
            "Only a study run with `pruner: none`, to its end, can be replayed exactly."
        )
        if lost := [f"{r.policy.label}: {_lost(r)}" for r in found.results if r.lost]:
            yield f"so many trials were lost so, on average: {', '.join(lost)}"
    if silent := len(records) - played:
        none = "of the study ended in an error or never reported: none is played"
        yield f"{count(silent, 'trial')} {none}"
    over = [(r, why) for r in found.results if (why := [p.over for p in r.plays if p.over])]
    if over:
        plays = ", ".join(f"{r.policy.label} {len(why)} of {len(r.plays)}" for r, why in over)
        yield (
            "plays that the study's own limits ended before all trials were tried: "
            f"{plays}; the first because {over[0][1][0]}"
        )
    if any(result.policy.sampler for result in found.results):
        yield (
            f"for each proposal of a sampler the nearest of the {played} recorded configurations that "
            "it has not tried stands in"
        )


def _cut_short(recording: Recording, spec: StudySpec, records: Sequence[TrialRecord]) -> Iterator[str]:
    """Which of the played trials did not come to an end of their own."""
    short = {curve.number for curve in recording.curves if not curve.whole}
    pruned = sum(r.outcome is Outcome.PRUNED for r in records if r.number in short)
    if pruned:
        yield f"{_were(pruned)} stopped by the study's pruner ({spec.plan.pruner.name})"
    if unended := len(short) - pruned:
        yield f"{count(unended, 'trial')} had not ended yet"


def _were(trials: int) -> str:
    return f"{count(trials, 'trial')} {'was' if trials == 1 else 'were'}"


def _advice(found: Replay) -> str:
    """What to choose: the policy of the least median, as far as the plays tell it from the others."""
    results = sorted(found.results, key=_median)
    if _median(results[-1]) <= _median(results[0]) * ALIKE:  # the one of which most is known
        results.sort(key=lambda result: result.lost)
    best, others = results[0], results[1:]
    apart = [other for other in others if _told_apart(best, other, len(others))]
    near = [other for other in others if other not in apart]
    name, flattered = best.policy.label, best.lost > 0
    if not others:
        told = f"{name} alone was played: name another sampler or pruner to compare it with"
        return f"{told}. {_trust(found)}"
    if math.isinf(_median(best)):
        told = f"No policy came within {100 * NEAR:.0f} % of the best in half of its plays"
    elif max(map(_median, others)) <= _median(best) * ALIKE:
        told = f"The policies {'seem' if flattered else 'are'} alike here: {name} is as good as any"
    elif not apart:
        told = (
            f"{name} has the least median, but the plays do not tell it from {_labels(near)}: "
            "play more of them (repeats)"
        )
    else:
        take = f"{name} seems the best" if flattered else f"Take {name}"
        but = f"; {_labels(near)} {'is' if len(near) == 1 else 'are'} not told from it" if near else ""
        told = f"{take}: {_gain(best, apart[-1])}{but}"
    return f"{told}{_but([best, *near], results)}{_flattered(found, best)}. {_trust(found)}"


def _median(result: Result) -> float:
    return result.quartiles[1]


def _told_apart(best: Result, other: Result, others: int) -> bool:
    """Whether one is sooner than another in more plays than by chance: a sign test of the pairs, with
    `DOUBT` for all of the best one's comparisons together (Bonferroni). Without a sampler nothing is
    left to chance, and one play says it.
    """
    from scipy.stats import binomtest  # noqa: PLC0415  it loads much of SciPy

    sooner, later, plays = best.against(other)
    if best.policy.sampler is None and other.policy.sampler is None:
        return sooner == plays
    return sooner > later and binomtest(sooner, sooner + later).pvalue <= DOUBT / others


def _gain(best: Result, slower: Result) -> str:
    """How much sooner one is than another."""
    gain, (sooner, _, plays) = _median(slower) / _median(best), best.against(slower)
    often = f", sooner in {sooner} of {plays} plays" if plays > 1 else ""
    near = f"within {100 * NEAR:.0f} % of the best"
    if math.isinf(gain):
        return f"{near} in time, {slower.policy.label} in less than half of its plays{often}"
    return f"{near} {gain:.1f} times as fast as {slower.policy.label}{often}"


def _labels(results: Sequence[Result]) -> str:
    return listed([result.policy.label for result in results])


def _lost(result: Result) -> str:
    return f"{result.lost:.1f}" if result.lost >= 0.05 else "under 0.1"


def _flattered(found: Replay, best: Result) -> str:
    """What of the best policy was not paid for, so that it need not be the best."""
    if not best.lost or math.isinf(best.quartiles[1]):
        return ""
    of = count(len(found.recording.curves), "trial")
    return (
        f"; but what {_lost(best)} of its {of} would have cost further nobody knows: to choose, "
        "replay a study that was run with `pruner: none`"
    )


def _but(chosen: Sequence[Result], results: Sequence[Result]) -> str:
    """What a median hides: plays that never came near, of the policies one may choose, where others'
    all did.
    """
    if math.isinf(_median(chosen[0])):  # which is said already
        return ""
    never = {result.policy.label: sum(map(math.isinf, result.reached)) for result in results}
    told = [
        f"in {never[result.policy.label]} of {len(result.reached)} plays {result.policy.label}"
        for result in chosen
        if never[result.policy.label]
    ]
    sure = [label for label, plays in never.items() if not plays]
    others = f", and {sure[0]} always did" if sure else ""
    return f"; but {' and '.join(told)} never came there{others}" if told else ""


def _trust(found: Replay) -> str:
    if all(math.isnan(rank.correlation) for rank in found.ranks):
        return f"Fewer than {FEW} trials ended by themselves, so nothing is said of rungs."
    if found.trusted is None:
        return "No report before the end has the best trials in its best third: prune late, or not."
    share = next(rank.share for rank in found.ranks if rank.step == found.trusted)
    rung = f"step {found.trusted:,} ({100 * share:.0f} % of the budget)"
    return f"A first rung at {rung} keeps the best trials."


def _words(part: Part) -> str:
    said = part.options
    if isinstance(part, Sampler) and "belief" in part.model_fields_set:
        said = {"belief": part.belief, **said}
    return with_options(part.name, {key: as_written(value) for key, value in said.items()})
