"""The command line: one function per command, each a few lines over `gansearch.api`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gansearch import __version__, api
from gansearch.errors import GansearchError, UserError
from gansearch.study.records import strict_json

app = typer.Typer(
    name="gansearch",
    help="Find GAN hyperparameters that work and keep working.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A study's name, or its directory.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", envvar="GANSEARCH_RUNS", help="Where studies are kept.")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="GANSEARCH_DATA", help="The folder of all data sets."),
]
Inception = Annotated[
    Path | None,
    typer.Option("--inception", envvar="GANSEARCH_INCEPTION", help="A file of Inception weights."),
]
Address = Annotated[str | None, typer.Option(help="A Ray cluster; default: a local Ray.")]
Storage = Annotated[
    str | None,
    typer.Option(
        help="An Optuna storage URL; default: a journal file.",
        show_envvar=True,
    ),
]
Tracking = Annotated[
    str | None,
    typer.Option("--tracking", help="An MLflow tracking URI, or 'off'; default: SQLite in runs."),
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Trials at once, at most.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set search.trials=8."),
]
Trials = Annotated[int | None, typer.Option(min=1, help="Short for --set search.trials=N.")]
RUNS = Path("runs")


def _print_version(asked: bool) -> None:
    if asked:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show it.")
    ] = False,
) -> None:
    """Find GAN hyperparameters that work and keep working."""


@app.command()
def check(study: StudyFile, data: Data = None, inception: Inception = None, set_: Set = None) -> None:
    """Validate a study, show what it will do, build every part and try one tiny step."""
    loaded = api.load_study(study, data=data, overrides=_overrides(set_, None))
    _show_study(loaded)
    tried = api.check(loaded, data=data, inception=inception)
    configurations = "1 configuration" if tried == 1 else f"{tried} configurations"
    out.print(f"[green]ok[/]: {configurations} built and trained for a step")


@app.command()
def run(
    study: StudyFile,
    runs_dir: RunsDir = RUNS,
    name: Annotated[str | None, typer.Option(help="The study's name; default: the file's.")] = None,
    address: Address = None,
    trials: Trials = None,
    set_: Set = None,
    concurrency: Concurrency = None,
    data: Data = None,
    inception: Inception = None,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Run a study under Ray Tune."""
    result = api.run(
        api.load_study(study, data=data, overrides=_overrides(set_, trials)),
        name=name,
        runs_dir=runs_dir,
        address=address,
        data=data,
        inception=inception,
        storage=storage,
        tracking=tracking,
        concurrency=concurrency,
        console=err,
    )
    _finish(result, storage)


@app.command()
def resume(
    name: Name,
    runs_dir: RunsDir = RUNS,
    address: Address = None,
    concurrency: Concurrency = None,
    data: Data = None,
    inception: Inception = None,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Go on with a study after any kind of interruption."""
    result = api.resume(
        name,
        runs_dir=runs_dir,
        address=address,
        data=data,
        inception=inception,
        storage=storage,
        tracking=tracking,
        concurrency=concurrency,
        console=err,
    )
    _finish(result, storage)


@app.command()
def status(
    name: Name,
    runs_dir: RunsDir = RUNS,
    storage: Storage = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
    top: Annotated[int, typer.Option(min=1, help="Rows of the leaderboard.")] = 10,
) -> None:
    """Leaderboard and outcomes of a study, also while it runs."""
    found = api.status(name, runs_dir=runs_dir, storage=storage)
    if as_json:
        sys.stdout.write(json.dumps(strict_json(found)) + "\n")
    else:
        _show_status(found, top)


@app.command()
def ui(
    name: Annotated[str | None, typer.Argument(help="The study to show; default: the newest.")] = None,
    runs_dir: RunsDir = RUNS,
    port: Annotated[int, typer.Option(help="0 takes any free one.")] = 5000,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Start MLflow's server on the runs' store and print the study's comparison view."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server ends with us
    with api.ui(name, runs_dir=runs_dir, port=port, storage=storage, tracking=tracking) as view:
        out.print(f"MLflow: {view.server}", highlight=False)
        out.print(f"compare trials: {view.comparison}", soft_wrap=True, highlight=False)
        if view.process:
            out.print("Ctrl-C ends the server.")
            view.process.wait()


@app.command()
def sync(
    name: Name, runs_dir: RunsDir = RUNS, storage: Storage = None, tracking: Tracking = None
) -> None:
    """Send to MLflow what it does not have of a study."""
    unsent = api.sync(name, runs_dir=runs_dir, storage=storage, tracking=tracking)
    if unsent:
        raise UserError(f"{unsent} trials could not be sent: is MLflow's server up?")
    out.print("MLflow has everything.")


@app.command()
def export(
    name: Name,
    target: Annotated[Path, typer.Option("--out", help="A new folder.")],
    top: Annotated[int, typer.Option(min=1, help="How many, best first.")] = 1,
    runs_dir: RunsDir = RUNS,
    storage: Storage = None,
) -> None:
    """Write the best configurations: weights, samples, provenance."""
    for folder in api.export(name, target, top=top, runs_dir=runs_dir, storage=storage):
        out.print(f"{folder}", highlight=False)
    first = target if top == 1 else f"{target}/01-..."
    _say_next(
        f"gansearch sample {first} --out grid.png",
        f"gansearch train {first}/config.yaml --out again",
    )


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="One configuration.")],
    target: Annotated[Path, typer.Option("--out", help="The folder for the model.")],
    data: Data = None,
    inception: Inception = None,
    device: Annotated[str | None, typer.Option(help="Default: the GPU if there is one.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="On a CPU; the trial's cpus repeat it.")] = 1,
) -> None:
    """Train one configuration by itself: no Ray, no Optuna, no MLflow."""

    def show(report: Any) -> None:
        shown = "  ".join(f"{key} {value:.4g}" for key, value in report.metrics.items())
        err.print(f"step {report.step}: {shown}", markup=False, highlight=False, soft_wrap=True)

    curve = api.train(
        config,
        target,
        data=data,
        inception=inception,
        device=device,
        threads=threads,
        on_report=show,
    )
    outcome, reason = curve["outcome"].iloc[-1], curve["reason"].iloc[-1]
    out.print(f"{target}: {outcome}{f' ({reason})' if reason else ''}", highlight=False)
    _say_next(f"gansearch sample {target} --out grid.png")


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An exported model.")],
    target: Annotated[Path, typer.Option("--out", help="The PNG to write.")],
    n: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(help="A seed, the same images.")] = 0,
) -> None:
    """Images from an exported generator."""
    out.print(f"{api.sample(folder, target, count=n, seed=seed)}", highlight=False)


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    here = os.getcwd()  # noqa: PTH109
    if here not in sys.path:  # so that `package.module:Thing` finds the user's own parts
        sys.path.insert(0, here)
    try:
        app()
    except GansearchError as error:
        err.print(f"[bold red]error[/]: {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _overrides(items: list[str] | None, trials: int | None) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for item in items or []:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {item}: needs KEY=VALUE, as in --set search.trials=8")
        overrides[key.strip()] = _value(item, text)
    return overrides | ({"search.trials": trials} if trials else {})


def _value(item: str, text: str) -> Any:
    from gansearch.study.document import parse_value  # noqa: PLC0415

    try:
        return parse_value(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {item}: the value is not valid YAML") from error


def _show_study(study: api.Study) -> None:
    spec, config = study.spec, study.spec.corner()
    out.print(spec.question or "(no question)", style="bold", highlight=False)
    table = Table("axis", "range", box=None, padding=(0, 2), header_style="dim")
    for axis, described in spec.space.describe():
        table.add_row(axis, escape(described))
    out.print(table)
    channels, height, width = study.data.shape
    budget, search = config.budget, spec.plan.search
    images = budget.steps * config.discriminator_steps * config.batch_size
    facts = {
        "data": f"{study.data.name}, {len(study.data.images):,} images {channels}x{height}x{width}",
        "budget": f"{search.trials} trials of at most {budget.steps:,} steps, a report every "
        f"{budget.report_every} (up to {images * search.trials:,} images)",
        "objective": f"{config.objective.metric}, {spec.goal}",
        "search": f"{search.sampler.name}, seed {search.seed}; pruner {spec.plan.pruner.name}",
        "a trial": f"{spec.plan.resources.cpus} CPUs, {spec.plan.resources.gpus:g} GPUs",
        "digest": spec.digest,
    }
    grid = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        grid.add_row(f"[dim]{key}[/]", escape(value))
    out.print(grid)


def _show_status(found: dict[str, Any], top: int) -> None:
    metric, goal = found["objective"]["metric"], found["objective"]["goal"]
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(found["counts"].items()))
    out.print(f"[bold]{found['study']}[/] {found['state']}: {counts or 'no trials yet'}")
    sign = 1 if goal == "min" else -1
    valued = [trial for trial in found["trials"] if trial["best"]]
    valued.sort(key=lambda trial: sign * trial["best"]["value"])
    _show_failures(found["trials"])
    if not valued:
        return
    axes = list(dict.fromkeys(name for trial in valued[:top] for name in trial["params"]))
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for column in ("trial", "outcome", f"best\n{metric}", "at\nstep", "last", *axes):
        table.add_column(column.replace(".", ".\n"), no_wrap=True, vertical="bottom")
    for trial in valued[:top]:
        table.add_row(*_status_row(trial, metric, axes))
    out.print(table)


def _show_failures(trials: list[dict[str, Any]]) -> None:
    """Why trials failed, the commonest reasons first; steps and numbers in them differ by trial."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for trial in trials:
        if trial["outcome"] in ("failed", "diverged", "collapsed", "stalled"):
            reason = trial["reason"].partition(",")[0].partition(":")[0]
            reasons.setdefault((trial["outcome"], reason), []).append(trial["number"])
    for (outcome, reason), numbers in sorted(reasons.items(), key=lambda item: -len(item[1]))[:6]:
        shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
        trace = "; see its error.txt" if outcome == "failed" else ""
        line = f"  {outcome}, {len(numbers)}: {reason} (trial {shown}{trace})"
        out.print(line, style="dim", highlight=False, markup=False)


def _status_row(trial: dict[str, Any], metric: str, axes: list[str]) -> list[str]:
    from gansearch.tuning.progress import STYLES  # noqa: PLC0415

    style = STYLES[trial["outcome"]]
    params = [trial["params"].get(axis, "") for axis in axes]
    return [
        str(trial["number"]),
        f"[{style}]{trial['outcome']}[/]",
        f"{trial['best']['value']:.4g}",
        str(trial["best"]["step"]),
        f"{trial['metrics'].get(metric, float('nan')):.4g}",
        *(f"{value:.3g}" if isinstance(value, float) else str(value) for value in params),
    ]


def _finish(result: api.StudyResult, storage: str | None) -> None:
    _show_status(api.status(result.directory, storage=storage), top=10)
    here = result.directory.parent == RUNS.resolve()
    name = result.directory.name if here else result.directory
    if not result.finished:
        _say_next(f"gansearch resume {name}")
        sys.exit(130)
    _say_next(
        f"gansearch ui {name}",
        f"gansearch export {name} --out best",
        f"gansearch status {name}",
    )


def _say_next(*commands: str) -> None:
    out.print("next:", style="dim")
    for command in commands:
        out.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)
