"""What the command line shows on a terminal: studies, leaderboards, rankings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gansearch import api
from gansearch.study.axes import as_written
from gansearch.study.records import cost, count
from gansearch.study.sections import with_options
from gansearch.tuning.going_on import stability_command
from gansearch.tuning.saying import say

if TYPE_CHECKING:
    import pandas as pd

    from gansearch.analysis.evidence import Evidence
    from gansearch.journal.repair import Repair
    from gansearch.journal.stored import StoredStudy
    from gansearch.search.replay import Rank, Replay
    from gansearch.study.plan import Plan, Resources, SearchBudget
    from gansearch.study.sections import Part
    from gansearch.study.spec import StudySpec
    from gansearch.tuning.where import Where


def show_study(out: Console, study: api.Study) -> None:
    """What a study file asks, before it is run."""
    spec, config = study.spec, study.spec.example()
    out.print(spec.question or "(no question)", style="bold", highlight=False, markup=False)
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("axis", no_wrap=True, overflow="fold")
    table.add_column("range", overflow="fold")
    for axis, described in spec.space.describe():
        table.add_row(axis, escape(described))
    if table.row_count:
        out.print(table)
    search, resources = spec.plan.search, spec.plan.resources
    facts = {
        "data": f"{study.data.name}, {study.data.domain.words(len(study.data.samples))}",
        "budget": _budget_words(spec),
        "then": _stability_words(spec.plan),
        "objective": f"{config.objective.metric}, {spec.goal}",
        "search": f"{_part_words(search.sampler)}, seed {search.seed}",
        "pruner": _part_words(spec.plan.pruner),
        "starts with": ", ".join(start.name for start in spec.start) or "-",
        "a worker": f"{_devices(resources)}; lanes: {resources.lanes}",
        "digest": spec.digest,
    }
    if not search.trials:
        del facts["search"], facts["pruner"], facts["starts with"]
    grid = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        grid.add_row(f"[dim]{key}[/]", escape(value))
        if key == "data":
            for note in study.data.notes:
                grid.add_row("", escape(note))
        if key == "starts with":
            for note in spec.notes:
                grid.add_row("", escape(note))
    out.print(grid)


def _part_words(part: Part) -> str:
    """`asha (reduction_factor: 3, second_chances: true)`: a part with what it goes by."""
    options = {key: value for key, value in part.model_dump().items() if value is not None}
    name = options.pop("name")
    return with_options(name, {key: as_written(value) for key, value in options.items()})


def steps_after(study: StoredStudy, evidence: Evidence, where: Where, *, confirmed: bool) -> list[str]:
    """The commands that a finished study suggests.

    Args:
        study: which one.
        evidence: all that is known of it.
        where: it was run, and with what.
        confirmed: whether configurations were trained again.
    """
    from gansearch import tracking  # noqa: PLC0415

    name, tracked = study.called, where.again("tracking")
    report = f"gansearch report {name}{tracked}"
    trained = {"": evidence.search, " --seeds": evidence.stability}
    metric, goal = evidence.metric, evidence.goal
    if any(trial.best(metric, goal) for trials in trained.values() for trial in trials):
        look = report if confirmed else stability_command(study, where)
        untracked = tracking.address(where.tracking) == tracking.OFF
        seen = [] if untracked else [f"gansearch ui {name}{tracked}"]
        return [look, *seen, f"gansearch export {name} --out best"]
    why = [
        f"gansearch logs {study.directory.called}{seeds} --trial {trials[0].number}"
        for seeds, trials in trained.items()
        if trials
    ]
    return [*why, report]


def _devices(resources: Resources) -> str:
    """What a worker holds."""
    gpus = f"{resources.gpus:g} GPU{'s' if resources.gpus > 1 else ''}" if resources.gpus else "no GPU"
    return f"{count(resources.cpus, 'CPU')}, {gpus}"


def _budget_words(spec: StudySpec) -> str:
    """What the search may take at most."""
    budget, trials = spec.example().budget, spec.plan.search.trials
    each = f"at most {budget.steps:,} steps, a report every {budget.report_every:,}"
    if not trials:
        return f"nothing is searched; trainings of {each}"
    ends = [tree for tree, _ in spec.space.corners()]
    batches = budget.steps * max(tree["discriminator_steps"] for tree in ends)
    samples = batches * max(tree["batch_size"] for tree in ends)
    most = f"{count(trials, 'trial')} of {each} (up to {samples * trials:,} real samples)"
    return ", or ".join([most, *_ends(spec.plan.search.budget)])


def _ends(limits: SearchBudget | None) -> list[str]:
    """What else ends a search."""
    from gansearch.search.stopping import FEWEST  # noqa: PLC0415

    ends = []
    if limits and limits.device_hours is not None:
        ends.append(f"{limits.device_hours:g} device-hours")
    if limits and limits.least_chance is not None:
        chance = f"{100 * limits.least_chance:g} %"
        ends.append(
            f"once {FEWEST} have ended, till the chance that the rest improves the best "
            f"is under {chance}"
        )
    return ends


def _stability_words(plan: Plan) -> str:
    """What is trained again on fresh seeds."""
    stability = plan.stability
    if stability is None:
        return "nothing is trained again"
    top = min(stability.top, plan.search.trials)
    best = f"the best {top}" + (" of each loss" if stability.per == "loss" else "")
    whom = [best] if stability.top and plan.search.trials else []
    whom += ["the default"] if stability.default else []
    whom += list(stability.configurations)
    return f"on {count(stability.seeds, 'fresh seed')} each: {', '.join(whom)}"


def show_status(out: Console, status: dict[str, Any], top: int) -> None:
    """Leaderboard and outcomes, as `api.status` gives them."""
    metric, goal = status["objective"]["metric"], status["objective"]["goal"]
    again = status["stability"]
    none = "nothing was searched" if again else "no trials yet"
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(status["counts"].items()))
    out.print(f"[bold]{status['study']}[/] {status['state']}: {counts or none}")
    if status["dashboard"]:
        say(out, f"Ray's dashboard: {status['dashboard']}")
    if status["over"]:
        say(out, f"the search is over: {status['over']}")
    if again:
        ended = ", ".join(f"{n} {outcome}" for outcome, n in sorted(again["counts"].items()))
        configurations = count(len(again["configurations"]), "configuration")
        whom = f"{configurations}, {count(again['planned'], 'seed')} in all"
        say(out, f"trained again: {whom}: {ended or 'none yet'}")
    if status["costs"]["words"]:
        say(out, status["costs"]["words"], "dim")
    for line in filter(None, [status["lanes"]["words"], *status["lanes"]["apart"]]):
        say(out, line, "dim")
    if status["second_chances"]:
        say(out, status["second_chances"]["words"], "dim")
    valued = [trial for trial in status["trials"] if trial["best"]]
    valued.sort(key=lambda trial: cost(trial["best"]["value"], goal))
    _show_failures(out, status["trials"])
    _show_failures(out, again["failures"] if again else [])
    _show_paused(out, valued)
    if not valued:
        return
    _show_leaderboard(out, valued[:top], metric)


def _show_leaderboard(out: Console, trials: list[dict[str, Any]], metric: str) -> None:
    """Trials with their values and as many of their axes as the terminal is wide enough for."""
    axes = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    shown = len(axes)
    wide = out.options.update(width=10_000)
    while True:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for column in ("trial", "outcome", f"best\n{metric}", "at\nstep", "last", *axes[:shown]):
            table.add_column(column.replace(".", ".\n"), no_wrap=True, vertical="bottom")
        for trial in trials:
            table.add_row(*_status_row(trial, metric, axes[:shown]))
        if not shown or out.measure(table, options=wide).maximum <= out.width:
            break
        shown -= 1
    out.print(table)
    if shown < len(axes):
        say(out, f"  and {count(len(axes) - shown, 'axis', 'axes')} more in trials.csv", "dim")


def _show_failures(out: Console, trials: list[dict[str, Any]]) -> None:
    """Why trials failed, the commonest reasons first; steps and numbers in them differ by trial."""
    reasons: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for trial in trials:
        if trial["outcome"] in ("failed", "diverged", "collapsed", "stalled"):
            reason = trial["reason"].partition(",")[0].partition(":")[0]
            reasons.setdefault((trial["outcome"], reason), []).append(trial)
    for (outcome, reason), failed in sorted(reasons.items(), key=lambda item: -len(item[1]))[:6]:
        trace = "; see its error.txt" if outcome == "failed" else ""
        say(out, f"  {outcome}, {len(failed)}: {reason} ({_whose(failed)}{trace})", "dim")


def _whose(trials: list[dict[str, Any]], most: int = 5) -> str:
    """Which trials these are, by number; of a stability study, of which configurations."""
    names = list(dict.fromkeys(str(each.get("configuration", each["number"])) for each in trials))
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    if "configuration" in trials[0]:
        return f"seeds of {shown}"
    return f"trial{'s' if len(names) > 1 else ''} {shown}"


def _show_paused(out: Console, trials: list[dict[str, Any]], most: int = 6) -> None:
    """Why the best of those wait that are paused."""
    paused = [trial for trial in trials if trial["outcome"] == "paused"]
    for trial in paused[:most]:
        origin = f" ({trial['origin']})" if trial["origin"] else ""
        say(out, f"  paused: trial {trial['number']}{origin}, {trial['reason']}", "dim")
    if len(paused) > most:
        say(out, f"  paused: {count(len(paused) - most, 'other')} with worse values", "dim")


def _status_row(trial: dict[str, Any], metric: str, axes: list[str]) -> list[str]:
    from gansearch.tuning.progress import STYLES  # noqa: PLC0415

    style = STYLES[trial["outcome"]]
    params = [trial["params"].get(axis, "") for axis in axes]
    origin = f" {escape(trial['origin'])}" if trial["origin"] else ""
    return [
        f"{trial['number']}{origin}",
        f"[{style}]{trial['outcome']}[/]",
        f"{trial['best']['value']:.4g}",
        str(trial["best"]["step"]),
        f"{trial['metrics'].get(metric, float('nan')):.4g}",
        *(f"{value:.3g}" if isinstance(value, float) else as_written(value) for value in params),
    ]


def show_configurations(out: Console, configurations: pd.DataFrame) -> None:
    """The ranking of what was trained again, with its uncertainty."""
    neighbours = configurations["kind"] == "around"
    ranked = configurations[~neighbours]
    table = _ranking(ranked, ["configuration", "loss"])
    if out.measure(table, options=out.options.update(width=10_000)).maximum > out.width:
        table = _ranking(ranked, ["configuration\nand loss"])
    out.print("trained again on fresh seeds, unpruned [95 % interval]:")
    out.print(table)
    if neighbours.any():
        around = count(neighbours.sum(), "neighbour")
        say(out, f"and {around}: the report tells what is borne", "dim")


def _ranking(configurations: pd.DataFrame, names: list[str]) -> Table:
    """A row a configuration; its label and its loss in a column each, or in one as wide as is left."""
    from gansearch.analysis.wording import interval, share, words  # noqa: PLC0415

    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("rank", no_wrap=True)
    for column in names:
        table.add_column(column, no_wrap=len(names) > 1, overflow="fold")
    for column in ("seeds", "success", "iqm of best", "first?"):
        table.add_column(column, no_wrap=True)
    for label, row in configurations.iterrows():
        called = [escape(str(label)), escape(row["family"])]
        table.add_row(
            words(row["rank"]),
            *(called if len(names) > 1 else [f"{called[0]}\n[dim]{called[1]}[/]"]),
            str(row["seeds"]),
            share(row["success_rate"], row["success_low"], row["success_high"]),
            interval(row["iqm"], row["iqm_low"], row["iqm_high"]),
            share(row["p_first"]),
        )
    return table


def show_comparison(out: Console, table: pd.DataFrame) -> None:
    """Several studies, a column each: there is more to say of a study than fits into a row."""
    from gansearch.reporting.comparison import shown  # noqa: PLC0415

    readable = shown(table)
    side_by_side = Table(box=None, padding=(0, 2), header_style="bold")
    side_by_side.add_column("")
    for study in readable["study"]:
        side_by_side.add_column(escape(study), overflow="fold")
    for what in readable.columns.drop("study"):
        side_by_side.add_row(f"[dim]{what}[/]", *(escape(cell) for cell in readable[what]))
    out.print(side_by_side)
    for warning in table.attrs.get("warnings", []):
        say(out, warning, "yellow")


def show_replay(out: Console, replay: Replay) -> None:
    """What policies did with a recorded study, and what to choose for the next one."""
    from gansearch.analysis.wording import number  # noqa: PLC0415  it loads pandas
    from gansearch.search.replay import NEAR  # noqa: PLC0415  it loads Optuna

    recording = replay.recording
    out.print(
        f"{count(len(recording.curves), 'recorded trial')}, best {replay.metric} "
        f"{number(recording.best)}; {count(replay.workers, 'worker')}",
        style="bold",
        highlight=False,
    )
    near = f"device-seconds to\nwithin {100 * NEAR:.0f} % of the best"
    columns = ("policy", near, "quartiles", "in all", f"best {replay.metric}\nat the end", "plays")
    table = Table(*columns, box=None, padding=(0, 2), header_style="dim")
    for result in replay.results:
        low, middle, high = (
            number(round(value, 1)) if math.isfinite(value) else "never" for value in result.quartiles
        )
        spread = f"{low} to {high}" if len(result.plays) > 1 else ""
        whole = number(round(result.spent, 1)), number(result.found)
        table.add_row(escape(result.policy.label), middle, spread, *whole, str(len(result.plays)))
    out.print(table)
    if any(math.isfinite(rank.kept) for rank in replay.ranks):
        _show_ranks(out, replay.ranks)
    for note in replay.notes:
        out.print(note, style="dim", highlight=False, markup=False)
    out.print(replay.advice, style="bold", highlight=False, markup=False)


def _show_ranks(out: Console, found: Sequence[Rank], most: int = 12) -> None:
    from gansearch.analysis.wording import DASH, missing, share  # noqa: PLC0415  it loads pandas

    ranks = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("report", "of the budget", "rank correlation\nwith the end", "best kept"):
        ranks.add_column(column, justify="right", vertical="bottom")
    every = max(1, math.ceil(len(found) / most))
    for rank in found[every - 1 :: every]:
        alike = DASH if missing(rank.correlation) else f"{rank.correlation:.2f}"
        ranks.add_row(f"{rank.step:,}", share(rank.share), alike, share(rank.kept))
    out.print(ranks)
    out.print("best kept: of the trials that end best, those in the best third here", style="dim")


def show_repairs(console: Console, repairs: Mapping[str, Repair]) -> None:
    """What was damaged in a study's journals, what is lost by it, and where the damaged files are."""
    for which, done in repairs.items():
        if not done.damages:
            say(console, f"{which}: {count(done.kept, 'record')}, all readable")
            continue
        for damage in done.damages:
            say(console, f"{which}: {damage}", "yellow")
        lost = sum(damage.lost for damage in done.damages)
        kept = f"{count(done.kept, 'record')} kept, {count(lost, 'line')} lost in whole or in part"
        say(console, f"{which}: {kept}")
        if done.lost_trials:
            numbers = ", ".join(map(str, done.lost_trials))
            whose = f"trial{'s' if len(done.lost_trials) > 1 else ''} {numbers}"
            say(console, f"{which}: without a beginning, and so failed, blamelessly: {whose}")
        if done.original:
            say(console, f"{which}: the journal as it was: {done.original}")
