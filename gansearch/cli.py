"""The command line: one function per command, each a few lines over `gansearch.api`.

All in one file, in the order in which `gansearch --help` lists them. How their process begins and ends
stands in `gansearch.process`.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from gansearch import __version__, api, files, process, terminal
from gansearch.errors import Interrupted, UserError
from gansearch.masking import without_password
from gansearch.options import (
    By,
    Dashboard,
    Name,
    Newest,
    NewName,
    Set,
    StudyFile,
    Trials,
    Trust,
    as_said,
    overrides,
    part_options,
    takes,
)
from gansearch.study.records import count, strict_json
from gansearch.tuning.going_on import resume_command
from gansearch.tuning.saying import say
from gansearch.tuning.where import JobOptions, Where

if TYPE_CHECKING:
    from gansearch.tuning.jobs import Job

app = typer.Typer(
    name="gansearch",
    help="Find GAN hyperparameters that work and keep working.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(width=None if sys.stdout.isatty() else 160, emoji=False)
err = Console(stderr=True, emoji=False)


LOOPBACK = "127.0.0.1"


def _print_version(asked: bool) -> None:
    if asked:
        say(out, __version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version."),
    ] = False,
) -> None:
    """Find GAN hyperparameters that work and keep working."""


@app.command()
@takes("data", "inception", "runs_dir", "storage", "tracking", "modules")
def check(
    study: StudyFile, where: Where, name: NewName = None, trials: Trials = None, set_: Set = None
) -> None:
    """Check a study: find its mistakes, show its plan, build every part and try one tiny step."""
    _import_from(where.modules)
    asked = overrides(set_, trials)
    loaded = api.load_study(study, data=where.data, overrides=asked, where=where)
    terminal.show_study(out, loaded)
    tried = api.check(loaded, name=name, data=where.data, inception=where.inception, where=where)
    out.print(f"[green]ok[/]: {count(tried, 'configuration')} built and trained for a step")
    for line in api.starts(loaded):
        say(out, line)
    for line in api.untrained(loaded):
        say(out, line, "yellow")
    for line in api.apart(loaded):
        say(out, line, "dim")
    for line in api.lacking(loaded):
        say(err, f"not on this machine, only on a cluster: {line}", "yellow")


@app.command()
def parts(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="loss, generator, metric ...; or study.")
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A part, your own module:Thing, or a key.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write it as Markdown.")] = False,
) -> None:
    """Describe the parts and their options; with `study`, every key of a study file."""
    sys.stdout.write(api.parts(kind, name, markdown=markdown))


@app.command()
@takes()
def run(
    study: StudyFile, where: Where, name: NewName = None, trials: Trials = None, set_: Set = None
) -> None:
    """Run a study under Ray Tune."""
    _import_from(where.modules)
    result = api.run(  # the images are handed over: nobody here keeps a copy
        api.load_study(study, data=where.data, overrides=overrides(set_, trials), where=where),
        name=name,
        console=err,
        where=where,
    )
    _finish(result, where)


@app.command()
@takes(*JobOptions.__optional_keys__, elsewhere=True)
def submit(
    study: StudyFile,
    address: Annotated[str, typer.Option(metavar="http://HEAD:8265", help="The cluster's dashboard.")],
    where: Where,
    name: NewName = None,
    trials: Trials = None,
    set_: Set = None,
) -> None:
    """Run a study on a remote cluster, as a Ray job that outlives this terminal."""
    job = api.submit(study, address, name=name, overrides=overrides(set_, trials), where=where)
    _say_job(job, address, where)


@app.command()
@takes("runs_dir")
def logs(
    ctx: typer.Context,
    name: Name,
    where: Where,
    trial: Annotated[int | None, typer.Option(min=0, help="Show the output of this trial.")] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Count trials of the stability study.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing until the job ends.")] = False,
    address: Dashboard = None,
) -> None:
    """Show what a trial printed and how it failed; of a remote cluster also the study's own output."""
    if address is not None and trial is not None:
        asked = ["--trial", str(trial), *(["--seeds"] if seeds else [])]
        _ask_cluster(address, ["logs", name, *asked], as_said(ctx, where))
    elif address is not None:
        for piece in api.job_logs(address, name, follow=follow):
            sys.stdout.write(piece)
    elif trial is not None:
        sys.stdout.write(api.trial_log(name, trial, seeds=seeds, where=where))
    else:
        raise UserError("say which trial: --trial N (or --address of the cluster on which it runs)")


@app.command()
@takes()
def resume(
    ctx: typer.Context,
    name: Name,
    where: Where,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Go on to N trials in all, also after the search has ended."),
    ] = None,
    set_: Set = None,
) -> None:
    """Resume a study after any interruption; with --address http://HEAD:8265 as a Ray job."""
    from gansearch.tuning.extension import wanted  # noqa: PLC0415  imports Optuna

    more = wanted(overrides(set_, trials))
    if where.address and where.address.startswith("http"):
        said = as_said(ctx, where)
        _say_job(api.submit_resume(name, where.address, where=said, **vars(more)), where.address, said)
        return
    _import_from(where.modules)
    _finish(api.resume(name, console=err, where=where, **vars(more)), where)


@app.command()
@takes()
def stability(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|CONFIG.yaml...", help="A study, or configurations (files, exports)."
        ),
    ],
    where: Where,
    top: Annotated[
        int | None, typer.Option(min=0, help="Take the N best of the study (default: 5).")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Train each on N seeds in all (default: 10).")
    ] = None,
    per: Annotated[
        str | None,
        typer.Option(metavar="study|loss", help="Take the best of the study, or of each loss."),
    ] = None,
    default: Annotated[bool | None, typer.Option(help="Add the study's default configuration.")] = None,
    around: Annotated[
        float | None,
        typer.Option(metavar="FACTOR", help="Train neighbours instead: each number times 1 -+ FACTOR."),
    ] = None,
    of: Annotated[
        str, typer.Option(help="Take the neighbours of this label or trial (default: the best).")
    ] = "",
    axes: Annotated[
        str,
        typer.Option(metavar="KEY,KEY", help="Vary these numbers (default: those that were searched)."),
    ] = "",
    set_: Set = None,
    name: Annotated[str | None, typer.Option(help="Name the new study.")] = None,
) -> None:
    """Train configurations again on fresh seeds, without pruning, to see which keep working."""
    _import_from(where.modules)
    result = api.stability(
        *what,
        top=top,
        seeds=seeds,
        per=per,  # type: ignore[arg-type]  # checked there
        default=default,
        around=around,
        of=of,
        axes=[axis.strip() for axis in axes.split(",") if axis.strip()],
        overrides=overrides(set_),
        name=name,
        console=err,
        where=where,
    )
    _finish(result, where)


@app.command()
@takes("runs_dir", "storage", "tracking")
def report(
    where: Where,
    name: Newest = None,
    target: Annotated[
        str | None,
        typer.Option("--out", help="Write into this folder (default: report/ of the study)."),
    ] = None,
    by: By = "iqm",
    threshold: Annotated[
        float | None, typer.Option(help="Report the time to reach this value.")
    ] = None,
) -> None:
    """Write a study's report: one HTML page, its tables as CSV, its figures for a paper."""
    written = api.report(name, out=target, by=by, threshold=threshold, where=where)
    say(out, written.html)
    if written.unsent:
        say(err, f"MLflow does not have it: {written.unsent}")


@app.command()
@takes("runs_dir", "storage")
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME NAME...", help="Studies.")],
    where: Where,
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.csv|FILE.html", help="Write the table here, too."),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare numbers that were made differently, too.")
    ] = False,
    by: By = "iqm",
) -> None:
    """Compare studies side by side; numbers that were made differently are refused."""
    from gansearch.reporting.comparison import write_comparison  # noqa: PLC0415

    if target is not None:
        files.check_output(target, ".csv", ".html")
    table = api.compare(*names, anyway=anyway, by=by, where=where)
    terminal.show_comparison(out, table)
    if target is not None:
        write_comparison(table, target)
        say(out, target)


@app.command()
@takes("runs_dir", "storage")
def replay(
    where: Where,
    name: Newest = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SAMPLER",
            help="Let this sampler propose; options as YAML (default: recorded, as they came).",
        ),
    ] = None,
    pruner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRUNER",
            help="Let this pruner stop trials; options as YAML (default: the study's, and none).",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Train N trials at once.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Play each policy N times.")] = 20,
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.svg|FILE.pdf", help="Draw the regret over time."),
    ] = None,
) -> None:
    """Replay a study's recorded curves under other samplers and pruners, on a simulated clock."""
    if target is not None:
        files.check_output(target, ".svg", ".pdf")
    with err.status("") as shown:
        replay = api.replay(
            name,
            samplers=part_options("--sampler", sampler) or ("recorded",),
            pruners=part_options("--pruner", pruner),
            workers=workers,
            repeats=repeats,
            note=lambda label: shown.update(f"playing {escape(label)}"),
            where=where,
        )
    terminal.show_replay(out, replay)
    if target is not None:
        from gansearch.reporting.regret import write_regret  # noqa: PLC0415

        say(out, write_regret(replay, target))


@app.command()
@takes("runs_dir", "storage")
def status(
    ctx: typer.Context,
    name: Name,
    where: Where,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="Show N rows of the leaderboard.")] = 10,
    address: Dashboard = None,
    seen_at: Annotated[
        str | None, typer.Option(hidden=True, help="Ray's dashboard, for who asks.")
    ] = None,
) -> None:
    """Show a study's leaderboard and outcomes, also while it runs."""
    if address is not None:
        asked = ["--top", str(top), "--seen-at", without_password(address)]
        asked += ["--json"] if as_json else []
        _ask_cluster(address, ["status", name, *asked], as_said(ctx, where))
        return
    evidence = api.evidence(name, where=where)
    status = api.status(evidence)
    if seen_at and status["dashboard"]:
        page = status["dashboard"].partition("/#")[2]
        status["dashboard"] = f"{seen_at.rstrip('/')}/#{page}"
    if as_json:
        sys.stdout.write(json.dumps(strict_json(status)) + "\n")
    else:
        terminal.show_status(out, status, top)
        if status["stability"]:
            terminal.show_configurations(out, api.configurations(evidence))


@app.command()
@takes("runs_dir", "storage", "tracking")
def ui(
    where: Where,
    name: Newest = None,
    port: Annotated[int, typer.Option(help="Listen on this port; 0: any free one.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Listen on this address. Nothing asks for a password.")
    ] = LOOPBACK,
) -> None:
    """Start MLflow's server on the studies' store and print the address of the comparison view."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server ends with us
    with api.ui(name, host=host, port=port, where=where) as view:
        say(out, f"MLflow: {view.server}")
        say(out, f"compare trials: {view.comparison}")
        if view.seeds:
            say(out, f"compare seeds: {view.seeds}")
        if view.process:
            if not view.process.private:
                words = f"whoever reaches {host} can read and change everything in this store"
                say(err, words, "yellow")
            say(out, "Ctrl-C ends the server.")
            view.process.wait()


@app.command()
@takes("runs_dir", "storage", "tracking")
def sync(name: Name, where: Where) -> None:
    """Send MLflow what it lacks of a study."""
    unsent = api.sync(name, console=err, where=where)
    if unsent:
        raise UserError(f"MLflow still lacks {count(unsent, 'trial')}")
    say(out, "MLflow has everything.")


@app.command()
@takes("runs_dir")
def repair(
    name: Name,
    where: Where,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")
    ] = False,
) -> None:
    """Repair a damaged journal file: keep all that can be read, and the damaged file beside it."""
    study = api.find(name, where=where)
    done = api.repair(study, dry_run=dry_run)
    terminal.show_repairs(out, done)
    if not dry_run and any(each.original for each in done.values()):
        _say_next(*(f"gansearch {command} {study.called}" for command in ("status", "resume")))


@app.command()
@takes("runs_dir", "storage")
def export(
    name: Name,
    target: Annotated[str, typer.Option("--out", help="Write into this new folder.")],
    where: Where,
    top: Annotated[int, typer.Option(min=1, help="Export the N best.")] = 1,
    by: By = "iqm",
    searched: Annotated[
        bool, typer.Option("--searched", help="Rank by the search's values, not by confirmed ones.")
    ] = False,
) -> None:
    """Export the best configurations, by confirmed rank if there is one: weights, samples, evidence."""
    folders = api.export(name, target, top=top, by=by, searched=searched, where=where)
    for folder in folders:
        say(out, folder)
    first = shlex.quote(str(folders[0]))
    _say_next(
        f"gansearch sample {first} --out grid.png",
        f"gansearch train {first}/config.yaml --out again",
    )


@app.command()
@takes("data", "inception")
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="A configuration, or export.")],
    target: Annotated[str, typer.Option("--out", help="Write the model into this folder.")],
    where: Where,
    device: Annotated[
        str | None, typer.Option(help="Train on this device (default: the GPU if there is one).")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Use N threads; as many as a trial's cpus repeat it exactly.")
    ] = 1,
    trust: Trust = False,
) -> None:
    """Train one configuration alone, without Ray, Optuna or MLflow."""

    def show(report: Any) -> None:
        shown = "  ".join(f"{key} {value:.4g}" for key, value in report.metrics.items())
        say(err, f"step {report.step}: {shown}")

    try:
        curve = api.train(
            config,
            target,
            data=where.data,
            inception=where.inception,
            device=device,
            threads=threads,
            trust=trust,
            on_begin=lambda line: say(err, line),
            on_report=show,
        )
    except process.CtrlC as stop:
        words = "stopped; the same command goes on from the last report"
        raise Interrupted(words) from stop
    outcome, reason = curve["outcome"].iloc[-1], curve["reason"].iloc[-1]
    say(out, f"{target}: {outcome}{f' ({reason})' if reason else ''}")
    _say_next(f"gansearch sample {shlex.quote(target)} --out grid.png")


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An exported model.")],
    target: Annotated[str, typer.Option("--out", help="Write this .png or .npy.")],
    n: Annotated[int, typer.Option(min=1, help="Draw N samples.")] = 64,
    seed: Annotated[int, typer.Option(help="Draw with this seed; equal seeds, equal samples.")] = 0,
    label: Annotated[
        str | None, typer.Option("--class", help="Draw only this class, by name or number.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Draw samples from an exported generator."""
    written = api.sample(folder, target, count=n, seed=seed, label=label, trust=trust)
    say(out, written)


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    with process.of_a_command(err):
        app()


def _ask_cluster(address: str, arguments: list[str], where: Where) -> None:
    """Have a command answered by the head of a cluster elsewhere."""
    answer = api.remote(address, arguments, where=where)
    sys.stdout.write(answer.stdout)
    sys.stderr.write(answer.stderr)
    if answer.exit_code:
        sys.exit(answer.exit_code)


def _import_from(modules: Iterable[Path]) -> None:
    """Find modules of the user's own where they are said to be."""
    for module in modules:
        sys.path.append(str(module.parent))


def _finish(result: api.StudyResult, where: Where) -> None:
    terminal.show_status(out, api.status(result.evidence), top=10)
    confirmed = len(result.configurations) > 0
    if confirmed:
        terminal.show_configurations(out, result.configurations)
    if not result.finished:
        _say_next(resume_command(result.study, where))
        sys.exit(130)
    _say_next(*terminal.steps_after(result.study, result.evidence, where, confirmed=confirmed))


def _say_job(job: Job, address: str, where: Where) -> None:
    """Say which job it is, and how to watch it: with what was said of where the cluster keeps it."""
    say(out, f"{job.study}: job {job.id}")
    there = f"{shlex.quote(job.study)} --address {shlex.quote(address)}"
    kept = {"--runs-dir": where.runs_dir, "--storage": where.storage}
    said = "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in kept.items() if value)
    _say_next(f"gansearch logs {there} --follow", f"gansearch status {there}{said}")


def _say_next(*commands: str) -> None:
    say(out, "next:", "dim")
    for command in commands:
        say(out, f"  {command}")
