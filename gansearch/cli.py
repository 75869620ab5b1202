"""The command line: one function per command, each a few lines over `gansearch.api`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape

from gansearch import __version__, api, terminal
from gansearch.errors import GansearchError, UserError
from gansearch.masking import shows_password, without_password
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


def _public(option: str, variable: str) -> Callable[[str | None], str | None]:
    """Refuses a password in an option: everyone on the machine sees it there, and Ray's dashboard."""

    def check(value: str | None) -> str | None:
        if value and shows_password(value):
            raise UserError(f"{option} would show its password to others: set {variable} instead")
        return value

    return check


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A study's name, or its directory.")]
Newest = Annotated[str | None, typer.Argument(metavar="[NAME]", help="A study; default: the newest.")]
RunsDir = Annotated[
    str,
    typer.Option(
        "--runs-dir", envvar="GANSEARCH_RUNS", help="Where studies are kept: a folder, or s3://..."
    ),
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
Dashboard = Annotated[
    str | None,
    typer.Option("--address", metavar="http://HEAD:8265", help="Of a cluster that has the study."),
]
Modules = Annotated[
    list[Path] | None,
    typer.Option("--module", help="Code of yours that the study needs besides what it names."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="An Optuna storage URL; default: a journal file.",
        callback=_public("--storage", "GANSEARCH_STORAGE"),
    ),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        help="An MLflow tracking URI, or 'off'; default: SQLite in runs.",
        callback=_public("--tracking", "MLFLOW_TRACKING_URI"),
    ),
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Trials at once, at most.")]
There = Annotated[str | None, typer.Option(help="As for run, and as the cluster sees it.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set search.trials=8."),
]
By = Annotated[str, typer.Option(help="The score that ranks: iqm, median, mean, q90 or success.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Short for --set search.trials=N.")]
LOOPBACK = "127.0.0.1"
RUNS = "runs"


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
    terminal.show_study(out, loaded)
    tried = api.check(loaded, data=data, inception=inception)
    configurations = "1 configuration" if tried == 1 else f"{tried} configurations"
    out.print(f"[green]ok[/]: {configurations} built and trained for a step")
    for line in api.lacking(loaded):
        words = f"not on this machine, only on a cluster: {line}"
        err.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)


@app.command()
def parts(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="loss, generator, metric, ...; or study.")
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A part, your own module:Thing, or a key.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page of Markdown.")] = False,
) -> None:
    """Describe every part with its options, and with `study` every key of a study file."""
    sys.stdout.write(api.parts(kind, name, markdown=markdown))


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
    modules: Modules = None,
) -> None:
    """Run a study under Ray Tune."""
    _import_from(modules)
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
        modules=modules or (),
        console=err,
    )
    _finish(result, storage)


@app.command()
def submit(
    study: StudyFile,
    address: Annotated[str, typer.Option(metavar="http://HEAD:8265", help="The cluster's dashboard.")],
    name: Annotated[str | None, typer.Option(help="The study's name; default: the file's.")] = None,
    trials: Trials = None,
    set_: Set = None,
    concurrency: Concurrency = None,
    runs_dir: There = None,
    data: There = None,
    inception: There = None,
    storage: There = None,
    tracking: There = None,
    modules: Modules = None,
) -> None:
    """Run a study on a cluster elsewhere, as a Ray job that goes on when this machine is closed."""
    job = api.submit(
        study,
        address,
        name=name,
        overrides=_overrides(set_, trials),
        concurrency=concurrency,
        runs_dir=runs_dir,
        data=data,
        inception=inception,
        storage=storage,
        tracking=tracking,
        modules=modules or (),
    )
    out.print(f"{job.study}: job {job.id}", highlight=False)
    where = f"{job.study} --address {address}"
    _say_next(f"gansearch logs {where} --follow", f"gansearch status {where}")


@app.command()
def logs(
    ctx: typer.Context,
    name: Name,
    trial: Annotated[int | None, typer.Option(min=0, help="Of one trial: what it printed.")] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="The trial is of the stability study.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Until the job ends.")] = False,
    address: Dashboard = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """What a trial printed and how it failed; on a cluster elsewhere also what the study printed."""
    if address is not None and trial is not None:
        asked = ["--trial", str(trial), *(["--seeds"] if seeds else [])]
        _ask_cluster(address, ["logs", name, *asked], **_said(ctx, "runs_dir"))
    elif address is not None:
        for piece in api.job_logs(address, name, follow=follow):
            sys.stdout.write(piece)
    elif trial is not None:
        sys.stdout.write(api.trial_log(name, trial, seeds=seeds, runs_dir=runs_dir))
    else:
        raise UserError("say which trial: --trial N (or --address of the cluster on which it runs)")


@app.command()
def resume(
    ctx: typer.Context,
    name: Name,
    runs_dir: RunsDir = RUNS,
    address: Address = None,
    concurrency: Concurrency = None,
    data: Data = None,
    inception: Inception = None,
    storage: Storage = None,
    tracking: Tracking = None,
    modules: Modules = None,
) -> None:
    """Go on with a study after any kind of interruption; http://HEAD:8265 does so as a Ray job."""
    if address and address.startswith("http"):
        said = _said(ctx, "runs_dir", "concurrency", "data", "inception", "storage", "tracking")
        job = api.submit_resume(name, address, modules=modules or (), **said)
        out.print(f"{job.study}: job {job.id}", highlight=False)
        return
    _import_from(modules)
    result = api.resume(
        name,
        runs_dir=runs_dir,
        address=address,
        data=data,
        inception=inception,
        storage=storage,
        tracking=tracking,
        concurrency=concurrency,
        modules=modules or (),
        console=err,
    )
    _finish(result, storage)


@app.command()
def stability(
    what: Annotated[
        list[str], typer.Argument(metavar="NAME|CONFIG.yaml...", help="A study, or configurations.")
    ],
    top: Annotated[int | None, typer.Option(min=0, help="How many of the study's best [5].")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How often each, in all [10].")] = None,
    per: Annotated[
        str | None, typer.Option(metavar="study|loss", help="The best of the study, or of each loss.")
    ] = None,
    default: Annotated[
        bool | None, typer.Option(help="Whether the default configuration joins them.")
    ] = None,
    around: Annotated[
        float | None,
        typer.Option(metavar="FACTOR", help="Neighbours instead: each number times 1 -+ FACTOR."),
    ] = None,
    of: Annotated[str, typer.Option(help="Whose neighbours: a label or a trial [the best].")] = "",
    axes: Annotated[
        str, typer.Option(metavar="KEY,KEY", help="Which numbers [those that were searched].")
    ] = "",
    set_: Set = None,
    name: Annotated[str | None, typer.Option(help="Of a new study.")] = None,
    runs_dir: RunsDir = RUNS,
    address: Address = None,
    concurrency: Concurrency = None,
    data: Data = None,
    inception: Inception = None,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Train configurations again on fresh seeds, unpruned: which of them keeps working?"""
    result = api.stability(
        *what,
        top=top,
        seeds=seeds,
        per=per,  # type: ignore[arg-type]  # checked there
        default=default,
        around=around,
        of=of,
        axes=[axis.strip() for axis in axes.split(",") if axis.strip()],
        overrides=_overrides(set_, None),
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
def report(
    name: Newest = None,
    target: Annotated[
        str | None, typer.Option("--out", help="A folder; default: report/ in the study's.")
    ] = None,
    by: By = "iqm",
    threshold: Annotated[
        float | None, typer.Option(help="A value that counts as reached, for the time to it.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Write a study's report: one HTML file, its tables as CSV, its figures for a paper."""
    written = api.report(
        name,
        out=target,
        by=by,
        threshold=threshold,
        runs_dir=runs_dir,
        storage=storage,
        tracking=tracking,
    )
    out.print(f"{written.html}", highlight=False, soft_wrap=True)
    if written.unsent:
        err.print(f"MLflow does not have it: {written.unsent}", markup=False, soft_wrap=True)


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME NAME...", help="Studies.")],
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv|FILE.html", help="Write it, too.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also numbers that were made differently.")
    ] = False,
    by: By = "iqm",
    runs_dir: RunsDir = RUNS,
    storage: Storage = None,
) -> None:
    """Several studies side by side; numbers made differently are refused."""
    from gansearch.reporting.comparison import write_comparison  # noqa: PLC0415

    if target is not None and target.suffix not in (".csv", ".html"):
        raise UserError(f"--out {target}: must end in .csv or .html")
    table = api.compare(*names, anyway=anyway, by=by, runs_dir=runs_dir, storage=storage)
    terminal.show_comparison(out, table)
    if target is not None:
        write_comparison(table, target)
        out.print(f"{target}", highlight=False)


@app.command()
def status(
    ctx: typer.Context,
    name: Name,
    runs_dir: RunsDir = RUNS,
    storage: Storage = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
    top: Annotated[int, typer.Option(min=1, help="Rows of the leaderboard.")] = 10,
    address: Dashboard = None,
    seen_at: Annotated[
        str | None, typer.Option(hidden=True, help="Ray's dashboard, for who asks.")
    ] = None,
) -> None:
    """Leaderboard and outcomes of a study, also while it runs."""
    if address is not None:
        asked = ["--top", str(top), "--seen-at", without_password(address)]
        asked += [*(["--json"] if as_json else []), *(["--storage", storage] if storage else [])]
        _ask_cluster(address, ["status", name, *asked], **_said(ctx, "runs_dir"))
        return
    found = api.status(name, runs_dir=runs_dir, storage=storage)
    if seen_at and found["dashboard"]:
        page = found["dashboard"].partition("/#")[2]
        found["dashboard"] = f"{seen_at.rstrip('/')}/#{page}"
    if as_json:
        sys.stdout.write(json.dumps(strict_json(found)) + "\n")
    else:
        terminal.show_status(out, found, top)
        if found["stability"]:
            ranking = api.configurations(name, runs_dir=runs_dir, storage=storage)
            terminal.show_configurations(out, ranking)


@app.command()
def ui(
    name: Newest = None,
    runs_dir: RunsDir = RUNS,
    port: Annotated[int, typer.Option(help="0 takes any free one.")] = 5000,
    host: Annotated[
        str, typer.Option(help="The address to listen on: it has no passwords.")
    ] = LOOPBACK,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Start MLflow's server on the runs' store and print the study's comparison view."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server ends with us
    how = partial(api.ui, name, runs_dir=runs_dir, storage=storage, tracking=tracking)
    with how(host=host, port=port) as view:
        out.print(f"MLflow: {view.server}", highlight=False)
        out.print(f"compare trials: {view.comparison}", soft_wrap=True, highlight=False)
        if view.seeds:
            out.print(f"compare seeds: {view.seeds}", soft_wrap=True, highlight=False)
        if view.process:
            if not view.process.private:
                words = f"whoever reaches {host} can read and change everything in this store"
                err.print(words, style="yellow", highlight=False)
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
def repair(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Mend a damaged journal file: keeps all that can be read, and the damaged file beside it."""
    done = api.repair(name, runs_dir=runs_dir, dry_run=dry_run)
    terminal.show_repairs(out, done)
    if not dry_run and any(each.original for each in done.values()):
        _say_next(f"gansearch status {name}", f"gansearch resume {name}")


@app.command()
def export(
    name: Name,
    target: Annotated[str, typer.Option("--out", help="A new folder.")],
    top: Annotated[int, typer.Option(min=1, help="How many, best first.")] = 1,
    by: By = "iqm",
    searched: Annotated[
        bool, typer.Option("--searched", help="By the search's values, whatever was confirmed.")
    ] = False,
    runs_dir: RunsDir = RUNS,
    storage: Storage = None,
) -> None:
    """Write the best configurations, by confirmed rank if there is one: weights, samples, evidence."""
    folders = api.export(
        name, target, top=top, by=by, searched=searched, runs_dir=runs_dir, storage=storage
    )
    for folder in folders:
        out.print(f"{folder}", highlight=False)
    first = shlex.quote(str(folders[0]))
    _say_next(
        f"gansearch sample {first} --out grid.png",
        f"gansearch train {first}/config.yaml --out again",
    )


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="One configuration.")],
    target: Annotated[str, typer.Option("--out", help="The folder for the model.")],
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
    target: Annotated[str, typer.Option("--out", help="The PNG to write.")],
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
        message = escape(without_password(str(error)))
        err.print(f"[bold red]error[/]: {message}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except Exception:  # a bug of ours, whose trace may quote a secret, to be read in a job's log
        sys.stderr.write(without_password(traceback.format_exc()))
        sys.exit(1)


def _said(ctx: typer.Context, *names: str) -> dict[str, Any]:
    """The options among these that stand on the command line, as a cluster is to be told them: its own
    environment, and not this machine's, says the others.
    """
    sources = {name: ctx.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    values = {name: ctx.params[name] for name in given}
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def _ask_cluster(address: str, arguments: list[str], runs_dir: str | None = None) -> None:
    """Have a command answered by the head of a cluster elsewhere."""
    answer = api.remote(address, arguments, runs_dir=runs_dir)
    sys.stdout.write(answer.stdout)
    sys.stderr.write(answer.stderr)
    if answer.exit_code:
        sys.exit(answer.exit_code)


def _import_from(modules: list[Path] | None) -> None:
    """Find modules of the user's own where they are said to be."""
    for module in modules or []:
        sys.path.append(str(module.absolute().parent))


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


def _finish(result: api.StudyResult, storage: str | None) -> None:
    terminal.show_status(out, api.status(result.directory, storage=storage), top=10)
    confirmed = len(result.configurations) > 0
    if confirmed:
        terminal.show_configurations(out, result.configurations)
    here = result.directory.parent == Path(RUNS).resolve()
    name = result.directory.name if here else result.directory
    if not result.finished:
        _say_next(f"gansearch resume {name}")
        sys.exit(130)
    _say_next(
        f"gansearch report {name}" if confirmed else f"gansearch stability {name} --top 5 --seeds 10",
        f"gansearch ui {name}",
        f"gansearch export {name} --out best",
    )


def _say_next(*commands: str) -> None:
    out.print("next:", style="dim")
    for command in commands:
        out.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)
