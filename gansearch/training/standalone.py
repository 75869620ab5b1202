"""Training one configuration by itself: no Ray, no Optuna, no MLflow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from gansearch import files
from gansearch.data import DataSet
from gansearch.errors import Doubt, StorageError, UserError
from gansearch.modules import own_modules
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training import checkpoint
from gansearch.training.blame import blaming
from gansearch.training.export_folder import write_model, write_picture, write_reports
from gansearch.training.prepare import LocalPaths, prepare, reservations
from gansearch.training.randomness import be_repeatable
from gansearch.training.transfer import starts
from gansearch.training.variational import build_trainer

CHECKPOINTS = "checkpoints"
"""The folder in a model's in which those of its training are."""


def train(
    config: TrialConfig,
    data: DataSet,
    out: Path,
    places: LocalPaths,
    *,
    device: str = "cpu",
    modules: Sequence[Path] = (),
    on_begin: Callable[[str], None] = lambda _: None,
    on_report: Callable[[Report], None] = lambda _: None,
) -> list[Report]:
    """Train a configuration and write its model's folder; what was begun there is gone on with.

    Args:
        config: what to train, as `load_config` gave it.
        data: its training images.
        out: the model's folder; checkpoints and samples of every report are in it too.
        places: data, cache, Inception's weights.
        device: where to train, as torch names it.
        modules: of the user's, to go along with the model besides those that it names.
        on_begin: called with each line that tells which weights it begins with; not where it goes on.
        on_report: called with each new report.

    Returns:
        The curve; the last report says how it ended.

    Raises:
        UserError: `out` holds something else, another process is training into it, or training failed
            before its first good report.
    """
    _check_free(out)
    with files.alone_in(out):
        return _train(config, data, out, places, device, modules, on_begin, on_report)


def _train(
    config: TrialConfig,
    data: DataSet,
    out: Path,
    places: LocalPaths,
    device: str,
    modules: Sequence[Path],
    on_begin: Callable[[str], None],
    on_report: Callable[[Report], None],
) -> list[Report]:
    folder = out / CHECKPOINTS
    if config.deterministic:  # the metrics use the device before the training does
        be_repeatable()
    for words in reservations(config):
        warnings.warn(words, Doubt, stacklevel=2)
    with blaming(config):
        reference, state = prepare(config, data, places, device), checkpoint.latest(folder)
        trainer = build_trainer(config, data, reference, device, begun=state is not None)
    for line in starts([config]) if state is None else ():
        on_begin(line)
    if state is not None:
        try:
            trainer.load(state)
        except (ValueError, StorageError) as error:
            raise UserError(f"cannot go on with what {out} holds: {error}; take a new --out") from error
    while not trainer.finished:
        with blaming(config):
            report = trainer.advance()
        best = config.best(trainer.reports)
        checkpoint.save(folder, report.step, trainer.state())
        checkpoint.keep(folder, {report.step, best.step if best else report.step}, tidy=True)
        if (grid := trainer.grid()) is not None:
            write_picture(grid, out / "samples" / f"step-{report.step:06d}.png")
        write_reports(out / "reports.csv", trainer.reports)
        on_report(report)
    best = config.best(trainer.reports)
    last = trainer.reports[-1]
    if best is None:
        raise UserError(f"nothing to keep: the trial {last.outcome} ({last.reason})")
    facts = {
        "objective": config.objective.model_dump(mode="json"),
        "value": best.value,
        "metrics": best.metrics,
        "provenance": trainer.provenance(),
        "outcome": last.outcome,
        "reason": last.reason,
    }
    state = checkpoint.load(checkpoint.path_of(folder, best.step))
    own = {path.name: path for path in (*modules, *own_modules(config.plain()))}
    write_model(out, state, trainer.reports, facts, list(own.values()))
    return trainer.reports


def has_begun(out: Path) -> bool:
    """Whether a training of this folder was begun, and is gone on with."""
    return bool(checkpoint.steps(out / CHECKPOINTS))


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: --out must be a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / CHECKPOINTS).is_dir():
        raise UserError(f"{out} holds other things: take a new --out")
