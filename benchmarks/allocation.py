"""Which policy finds the best configurations soonest? Policies played against recorded curves.

    python -m benchmarks.allocation play TABLE [--workers 2 8] [--repeats 200] [--policies NAME...]
                                    [--half judge] [--without-default] [--save FILE.json]
    python -m benchmarks.allocation show FILE.json       the table of what --save wrote
    python -m benchmarks.allocation forecast TABLE       where paused trials would have ended
    python -m benchmarks.allocation ranks TABLE          what the ranks at each report say of the end
    python -m benchmarks.allocation chance TABLE         how often a better one is still to come

`benchmarks.record_curves` has made the tables. Policies were tuned on their halves `tune`, and are
judged on the halves `judge`; the default configuration is in both. Every policy is played on the
simulated clock of `gansearch replay`: for a proposal the nearest configuration that was not tried
stands in, the search ends when it has come within 5 % of the best of the half, and device-seconds are
the time until then times the workers, busy or not. A trial's seconds are its processor seconds,
smoothed over the space (the machine was busy). In each repetition a configuration that was trained on
several seeds has one of them by chance, and the search another seed.

"0.1.0" is TPE with stopping ASHA and no start, as version 0.1.0 had it. "stock Ray" is Ray Tune's
OptunaSearch with its ASHAScheduler, called as Tune calls them; it has no way to be told that another
configuration than the proposed one was trained, so it takes the stand-in's values for the proposal's.
The oracle trains the best configuration at once. With --without-default the default configuration is
taken out of the table, so that to try it first is no luck.

It is one file because a policy, the tables it is played on and what is said of it are read together.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gansearch.search.feasibility import encoded
from gansearch.search.forecast import Prediction
from gansearch.search.halving import Asha
from gansearch.search.pruners import GO_ON, Decision, Pruner, Verdict
from gansearch.search.recording import Curve, Recording
from gansearch.search.replay import FEW, NEAR, quartiles, ranks_of, spearman
from gansearch.search.simulation import Simulation, Source, StandIns, within
from gansearch.search.stopping import chance_of_better
from gansearch.study.axes import Float, Int
from gansearch.study.config import TrialConfig
from gansearch.study.learnt import Learnt, Lesson
from gansearch.study.notation import parse_space
from gansearch.study.plan import Plan
from gansearch.study.records import Outcome, Report, TrialRecord, cost
from gansearch.study.space import Space
from gansearch.study.spec import StudySpec
from gansearch.study.starting import StartPoint

TABLES = Path(__file__).parent / "tables"
ASHA = {"name": "asha", "reduction_factor": 3}
SECOND = ASHA | {"second_chances": True}
OFF = 1e-3
"""A misleading default is so many times the true one: three decades off, as far as the axis goes."""


@dataclass(frozen=True)
class Policy:
    """A sampler, a pruner, and where to begin.

    Attributes:
        start: whether the default is tried first.
        defaults: what the axes say their defaults are, as a multiple of the true ones; None: nothing.
        learnt: whether the sampler knows how the configurations of the other half ended.
    """

    sampler: dict[str, Any]
    pruner: dict[str, Any]
    start: bool = True
    defaults: float | None = None
    learnt: bool = False


def by(name: str, belief: str = "none") -> dict[str, Any]:
    """A sampler by name."""
    return {"name": name, "belief": belief}


OURS = Policy(by("curves"), SECOND)
POLICIES: dict[str, Policy | None] = {
    "random, nothing pruned": Policy(by("random"), {"name": "none"}, start=False),
    "0.1.0": Policy(by("tpe"), ASHA, start=False),
    "stock Ray": None,
    "default first": Policy(by("tpe"), ASHA),
    "second chances": Policy(by("tpe"), SECOND, start=False),
    "default first, second chances": Policy(by("tpe"), SECOND),
    "ours": OURS,
    "ours, not the default first": Policy(by("curves"), SECOND, start=False),
    "ours, stopping": Policy(by("curves"), ASHA),
    "ours, random": Policy(by("random"), SECOND),
    "ours, gp": Policy(by("gp"), SECOND),
    "ours, qmc": Policy(by("qmc"), SECOND),
    "ours, cmaes": Policy(by("cmaes"), SECOND),
    "ours, hyperband": Policy(by("curves"), {"name": "hyperband", "second_chances": True}),
    "ours, belief medium": Policy(by("curves", "medium"), SECOND, defaults=1.0),
    "ours, the other half learnt": Policy(by("curves"), SECOND, learnt=True),
    "no belief": Policy(by("curves"), SECOND, start=False, defaults=OFF),
    "misleading belief": Policy(by("curves", "strong"), SECOND, start=False, defaults=OFF),
    "no belief, tpe": Policy(by("tpe"), SECOND, start=False, defaults=OFF),
    "misleading belief, tpe": Policy(by("tpe", "strong"), SECOND, start=False, defaults=OFF),
}
"""By name; what `ours` is besides is said."""

USUAL = [name for name in POLICIES if name != "ours, gp"]  # half a second a proposal
HALVES = ("tune", "judge")


class Table:
    """One recorded table.

    Args:
        name: of it.
        default: whether it has the default configuration.

    Attributes:
        label: what it is called in results.
        about: what it is, and what recorded it.
        spec: the study, without its data.
    """

    def __init__(self, name: str, *, default: bool = True) -> None:
        found = json.loads(gzip.decompress((TABLES / f"{name}.json.gz").read_bytes()))
        self.name, self.about, self.trials = name, found["about"], found["trials"]
        tree = yaml.safe_load(found["study"])
        tree["search"]["start"] = None
        plan = Plan.model_validate({k: v for k, v in tree.items() if k in Plan.model_fields})
        space, _ = parse_space({k: v for k, v in tree.items() if k in TrialConfig.model_fields})
        start = StartPoint("default", self.trials[0]["params"])
        self.spec = StudySpec(plan, Space(space), start=(start,))
        objective = self.spec.example().objective
        self.metric, self.goal = objective.metric, objective.towards
        self._paces = self._smoothed()
        self._default = default
        self.label = name if default else f"{name} without its default"

    def recording(self, half: str | None, seed: int | None) -> Recording:
        """The curves of a half; of configurations with several, the first or one by chance."""
        by_number: dict[int, list[dict[str, Any]]] = {}
        for trial in self.trials:
            if trial["number"] == 0 and not self._default:
                continue
            if half is None or trial["half"] in (half, "both"):
                by_number.setdefault(trial["number"], []).append(trial)
        chance = random.Random(seed)
        chosen = [t[0] if seed is None else chance.choice(t) for t in by_number.values()]
        curves = [self._curve(trial) for trial in chosen]
        return Recording(self.spec.space.axes(), self.metric, self.goal, curves)

    def _curve(self, trial: dict[str, Any]) -> Curve:
        pace = self._paces[trial["number"]]
        values = [float(value) for value in trial["metrics"][self.metric]]
        reports = [
            Report(step, 0, pace * (at + 1), {self.metric: value}, 0.0)
            for at, (step, value) in enumerate(zip(trial["steps"], values, strict=True))
        ]
        last = replace(reports[-1], outcome=Outcome(trial["outcome"]), reason=trial["reason"])
        return Curve(trial["number"], trial["params"], (*reports[:-1], last))

    def _smoothed(self) -> dict[int, float]:
        """Seconds of a report of each configuration: a log-linear fit on the axes."""
        axes = self.spec.space.axes()
        rows = [[1.0, *encoded(axes, trial["params"])] for trial in self.trials]
        seconds = [trial["seconds"][-1] / len(trial["seconds"]) for trial in self.trials]
        matrix, logs = np.array(rows), np.log(seconds)
        ridge = matrix.T @ matrix + 0.1 * np.eye(matrix.shape[1])
        fitted = np.exp(matrix @ np.linalg.solve(ridge, matrix.T @ logs))
        return {t["number"]: float(s) for t, s in zip(self.trials, fitted, strict=True)}

    def study(self, policy: Policy, seed: int, half: str) -> StudySpec:
        """The study as a policy asks for it, on a half."""
        plan = self.spec.plan.model_dump()
        plan["search"] |= {"sampler": policy.sampler, "seed": seed, "trials": 10**6}
        plan["pruner"] = policy.pruner
        space = self.spec.space
        if policy.defaults is not None:
            space = Space(_with_defaults(space.tree, self.trials[0]["params"], policy.defaults, ()))
        start = self.spec.start if policy.start else ()
        learnt = (self._learnt(half, seed),) if policy.learnt else ()
        return StudySpec(Plan.model_validate(plan), space, start=start, learnt=learnt)

    def _learnt(self, half: str, seed: int) -> Learnt:
        """How the configurations of the other half ended, the default aside."""
        other = next(name for name in HALVES if name != half)
        recording = self.recording(other, seed)
        bests = [recording.best_of([at]) for at in range(len(recording.curves))]
        lessons = [
            Lesson(curve.number, curve.point, "COMPLETE", curve.reports[-1].step, best)
            for curve, best in zip(recording.curves, bests, strict=True)
            if curve.number and math.isfinite(best)
        ]
        return Learnt(other, tuple(lessons))


def _with_defaults(node: Any, point: dict[str, Any], factor: float, path: tuple[str, ...]) -> Any:
    """A space whose learning rates say what their defaults are, moved by a factor within the axis."""
    name = ".".join(path)
    if isinstance(node, Float) and name in point and name.endswith(".lr"):
        return replace(node, default=min(max(point[name] * factor, node.low), node.high))
    if isinstance(node, dict):
        return {k: _with_defaults(v, point, factor, (*path, k)) for k, v in node.items()}
    return node


# --- Ray Tune's own ---------------------------------------------------------------------------------


class _Tunes:
    """A trial as ASHAScheduler wants it."""

    def __init__(self, number: int) -> None:
        self.trial_id, self.status = f"{number:05d}", "RUNNING"


class Stock:
    """OptunaSearch and ASHAScheduler, as a source of trials and a pruner."""

    def __init__(self, table: Table, recording: Recording, seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler  # noqa: PLC0415
        from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415

        self._spec, self._recording = table.spec, recording
        config = table.spec.example()

        def space(trial: Any) -> None:
            def suggest(name: str, axis: Any) -> Any:
                if isinstance(axis, Float):
                    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)
                if isinstance(axis, Int):
                    return trial.suggest_int(name, axis.low, axis.high)
                return trial.suggest_categorical(name, list(axis.options))

            table.spec.space.point(suggest)

        shared = {"metric": table.metric, "mode": table.goal}
        self._search = OptunaSearch(space=space, seed=seed, **shared)
        grace = (
            max(config.budget.steps // config.budget.report_every // 9, 1) * config.budget.report_every
        )
        self._scheduler = ASHAScheduler(
            time_attr="step",
            max_t=config.budget.steps,
            grace_period=grace,
            reduction_factor=3,
            **shared,
        )
        self._trials: dict[int, _Tunes] = {}
        self._taken: list[int] = []

    def begin(self) -> tuple[TrialRecord, Sequence[Report]]:
        trial = _Tunes(number := len(self._trials))
        self._trials[number] = trial
        proposed = self._search.suggest(trial.trial_id)
        self._scheduler.on_trial_add(None, trial)
        self._taken.append(self._recording.nearest(proposed, self._taken))
        curve = self._recording.curves[self._taken[-1]]
        config = self._spec.trial(number, lambda name, _: curve.point[name]).plain()
        return TrialRecord(number, curve.point, config), curve.reports

    def _result(self, report: Report) -> dict[str, Any]:
        return {**report.metrics, "step": report.step, "training_iteration": report.step}

    def report(self, number: int, report: Report) -> None:
        self._search.on_trial_result(self._trials[number].trial_id, self._result(report))

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:
        if report.outcome is not None:
            return GO_ON
        said = self._scheduler.on_trial_result(None, self._trials[trial.number], self._result(report))
        return GO_ON if said == "CONTINUE" else Verdict(Decision.STOP, "ASHAScheduler")

    def end(self, record: TrialRecord) -> None:
        trial, last = self._trials[record.number], record.reports[-1]
        self._scheduler.on_trial_complete(None, trial, self._result(last))
        self._search.on_trial_complete(trial.trial_id, self._result(last))

    def pause(self, record: TrialRecord, reason: str) -> TrialRecord:
        raise NotImplementedError

    def wake(self, record: TrialRecord, reason: str) -> TrialRecord:
        raise NotImplementedError


# --- playing ----------------------------------------------------------------------------------------


def play(table: Table, name: str, half: str, workers: int, seed: int) -> float:
    """Device-seconds until a policy came near the best."""
    recording = table.recording(half, seed)
    near, policy = within(recording, NEAR), POLICIES[name]
    pruner: Pruner | None = None
    if policy is None:
        study = table.spec
        source: Source = (stock := Stock(table, recording, seed))
        pruner = stock
    else:
        study = table.study(policy, seed, half)
        source = StandIns(study, recording)
    simulation = Simulation(study, source, recording, workers=workers, pruner=pruner)
    return simulation.run(near).reached(near)


def oracle(table: Table, half: str, workers: int, seed: int) -> float:
    """The same of one who knows which configuration is best."""
    recording = table.recording(half, seed)
    near = within(recording, NEAR)
    times = [
        report.seconds
        for curve in recording.curves
        for report in curve.reports
        if near(report.metrics[table.metric])
    ]
    return min(times) * workers


def play_all(args: argparse.Namespace) -> None:
    found = json.loads(args.save.read_text()) if args.save and args.save.exists() else []
    done = {(one["table"], one["half"], one["workers"], one["policy"]) for one in found}
    table = Table(args.table, default=not args.without_default)
    for workers in args.workers:
        for name in ["oracle", *args.policies]:
            if (table.label, args.half, workers, name) in done:
                continue
            begun = time.process_time()
            run: Callable[[int], float] = (
                partial(oracle, table, args.half, workers)
                if name == "oracle"
                else partial(play, table, name, args.half, workers)
            )
            times = [run(seed) for seed in range(args.repeats)]
            took = (time.process_time() - begun) / args.repeats
            low, middle, high = quartiles(times)
            told = f"{middle:.1f} [{low:.1f}, {high:.1f}]"
            print(f"{table.label} {workers} {name}: {told}, {took:.2f} s a play", flush=True)
            one = {"table": table.label, "half": args.half, "workers": workers, "policy": name}
            found.append(one | {"times": [None if math.isinf(t) else round(t, 2) for t in times]})
            if args.save:
                args.save.write_text(json.dumps(found))


def show(args: argparse.Namespace) -> None:
    found = json.loads(args.file.read_text())
    times = {
        (one["table"], one["workers"], one["policy"]): [
            math.inf if t is None else t for t in one["times"]
        ]
        for one in found
    }
    kinds = list(dict.fromkeys((table, workers) for table, workers, _ in times))
    heads = " | ".join(f"{table}, {workers} workers" for table, workers in kinds)
    print(f"| device-seconds to within 5 %: median [quartiles] | {heads} |")
    print("|---|" + "---|" * len(kinds))
    for name in ["oracle", *POLICIES]:
        cells = [_cell(times, *kind, name) for kind in kinds]
        if any(cells):
            print(f"| {name} | {' | '.join(cells)} |")
    ratios = [
        ("ours / 0.1.0", "ours", "0.1.0"),
        ("ours / random, nothing pruned", "ours", "random, nothing pruned"),
        ("ours / stock Ray", "ours", "stock Ray"),
        ("oracle / ours", "oracle", "ours"),
        ("0.1.0 / random, nothing pruned", "0.1.0", "random, nothing pruned"),
        ("misleading belief / no belief", "misleading belief", "no belief"),
        ("the same, tpe", "misleading belief, tpe", "no belief, tpe"),
    ]
    for label, over, under in ratios:
        cells = [_ratio(times, *kind, over, under) for kind in kinds]
        print(f"| **{label}** | {' | '.join(cells)} |")


def _cell(times: dict[Any, list[float]], table: str, workers: int, name: str) -> str:
    if (table, workers, name) not in times:
        return ""
    low, middle, high = quartiles(times[table, workers, name])
    return f"{middle:.0f} [{low:.0f}, {high:.0f}]"


def _ratio(times: dict[Any, list[float]], table: str, workers: int, over: str, under: str) -> str:
    """How the medians of two policies stand to each other, with what drawing the plays anew makes of it
    in 95 of 100; then the geometric mean of the plays' own ratios, of those in which both came there.
    """
    if any((table, workers, name) not in times for name in (over, under)):
        return ""
    pairs = np.array(list(zip(times[table, workers, over], times[table, workers, under], strict=False)))
    drawn = pairs[np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))]
    ones, others = np.sort(drawn, axis=1)[:, len(pairs) // 2].T
    low, high = np.quantile(ones / others, [0.025, 0.975])
    one, other = (quartiles(times[table, workers, name])[1] for name in (over, under))
    logs = np.log(pairs[np.isfinite(pairs).all(1)])
    mean = math.exp((logs[:, 0] - logs[:, 1]).mean())
    return f"**{one / other:.2f}** ({low:.2f}-{high:.2f}), {mean:.2f} play by play"


class Watched(Asha):
    """Second chances, taking down what it predicts of each trial that comes to a rung, and how it then
    ranks those that have come there: by what they have, and by the forecast.
    """

    def __init__(self, config: TrialConfig) -> None:
        super().__init__(config, second_chances=True)
        self.said: list[tuple[TrialRecord, Prediction]] = []
        self.ranked: list[tuple[int, dict[int, float], dict[int, float]]] = []

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:
        verdict = super().judge(trial, report)
        rung = self.rungs.get(report.step)
        if rung is None or report.outcome is not None:
            return verdict
        predicted = self._forecast.of(trial.number)
        if predicted and predicted.whole:
            self.said.append((trial, predicted))
        if rung.foreseen and len(rung) >= FEW:
            now = {number: -reward for number, reward in rung.worth.items()}
            self.ranked.append((report.step, now, self._forecast.ends(rung.worth)))
        return verdict


def forecast(args: argparse.Namespace) -> None:
    """Predictions at rungs against what came, over whole plays."""
    table = Table(args.table)
    rows: dict[int, list[tuple[float, ...]]] = {}
    agreed: dict[int, list[tuple[float, float]]] = {}
    for seed in range(args.repeats):
        recording = table.recording(args.half, seed)
        by_point = {str(c.point): recording.best_of([i]) for i, c in enumerate(recording.curves)}
        study = table.study(OURS, seed, args.half)
        pruner = Watched(study.example())
        source = StandIns(study, recording)
        played = Simulation(study, source, recording, workers=2, pruner=pruner).run()
        ends = {trial.number: by_point[str(trial.params)] for trial in played.trials}
        for trial, said in pruner.said:
            best = trial.best(table.metric, table.goal)
            if best and math.isfinite(ends[trial.number]):
                values = (best.value, said.value, said.low, said.high, ends[trial.number])
                rows.setdefault(trial.step, []).append(tuple(cost(v, table.goal) for v in values))
        for step, now, foreseen in pruner.ranked:
            known = [number for number in now if math.isfinite(ends[number])]
            end = np.array([cost(ends[number], table.goal) for number in known])
            by_now, by_forecast = (
                spearman(np.array([by[n] for n in known]), end) for by in (now, foreseen)
            )
            agreed.setdefault(step, []).append((by_now, by_forecast))
    print(f"{table.name}, {args.half}, {args.repeats} plays")
    heads = ["rung", "predictions", "within 80 %", "so much wider it would be 80 %"]
    print(
        f"| {' | '.join(heads)} | rank correlation of a rung's trials with their ends: now / foreseen |"
    )
    print("|---|---|---|---|---|")
    for step, found in sorted(rows.items()):
        _, middle, low, high, end = np.array(found).T
        held = np.mean((low <= end) & (end <= high))
        logs = np.log if np.array(found).min() > 0 else np.asarray
        misses = np.abs(logs(end) - logs(middle)) / (logs(middle) - logs(low))
        now, foreseen = np.nanmean(np.array(agreed.get(step, [(math.nan, math.nan)])), axis=0)
        ranks = f"{now:.2f} / {foreseen:.2f}"
        print(f"| {step} | {len(found)} | {held:.0%} | {np.quantile(misses, 0.8):.2f} | {ranks} |")


def ranks(args: argparse.Namespace) -> None:
    table = Table(args.table)
    recording = table.recording(args.half, None)
    print(f"{table.name}: {json.dumps(table.about)}")
    bests = [recording.best_of([i]) for i in range(len(recording.curves))]
    finite = [value for value in bests if math.isfinite(value)]
    whole = statistics.fmean(c.reports[-1].seconds for c in recording.curves)
    print(
        f"{len(bests)} configurations; best {recording.best:.4g}, "
        f"median {statistics.median(finite):.4g}, "
    )
    print(f"the default's {bests[0]:.4g}; {whole:.1f} s a trial")
    print("| report | of the budget | rank correlation with the end | best kept |\n|---|---|---|---|")
    for rank in ranks_of(recording):
        print(f"| {rank.step} | {rank.share:.0%} | {rank.correlation:.2f} | {rank.kept:.0%} |")


def chance(args: argparse.Namespace) -> None:
    """`least_chance` against what came, of configurations trained to their ends in a random order."""
    table, order = Table(args.table), np.random.default_rng(0)
    recording = table.recording(args.half, None)
    bests = [cost(recording.best_of([at]), table.goal) for at in range(len(recording.curves))]
    ends = np.array([end if math.isfinite(end) else math.inf for end in bests])
    print(f"{table.name}, {args.half}, {args.repeats} orders")
    print("| ended | more | better by | said | came |\n|---|---|---|---|---|")
    for ended, more, by in itertools.product((24, 40), (4, 12), (0.0, 0.05, 0.2)):
        said, came = [], []
        for _ in range(args.repeats):
            drawn = order.permutation(ends)[: ended + more]
            known, rest = drawn[:ended], drawn[ended:]
            than = known.min() - by * abs(known.min())
            said.append(chance_of_better(known, than, more))
            came.append(rest.min() < than)
        print(f"| {ended} | {more} | {by:.0%} | {np.mean(said):.2f} | {np.mean(came):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["play", "show", "forecast", "ranks", "chance"])
    parser.add_argument("table", help="ring, dense, digits or fashion; for `show` what --save wrote")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--repeats", type=int, help="default: 20 to forecast, else 200")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=USUAL)
    parser.add_argument("--half", choices=HALVES, default="judge")
    parser.add_argument("--without-default", action="store_true")
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    args.repeats = args.repeats or (20 if args.what == "forecast" else 200)
    if args.what == "show":
        args.file = Path(args.table)
    kinds = {"play": play_all, "show": show, "forecast": forecast, "ranks": ranks, "chance": chance}
    kinds[args.what](args)


if __name__ == "__main__":
    main()
