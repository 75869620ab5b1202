"""Studies that are run: begun, gone on with, trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Unpack

from rich.console import Console

from gansearch.api.asking import Study, load_study
from gansearch.api.reading import StudyLike, evidence, find
from gansearch.arguments import checked
from gansearch.files import PathLike, Place, PlaceLike
from gansearch.journal.stored import StoredStudy
from gansearch.tuning.going_on import as_was_said
from gansearch.tuning.saying import say
from gansearch.tuning.where import Where, WhereOptions, combined

if TYPE_CHECKING:
    import pandas as pd

    from gansearch.analysis.evidence import Evidence


@dataclass(frozen=True)
class StudyResult:
    """A study that has run, wholly or in part.

    Attributes:
        directory: where it is.
        finished: False after an interruption: `resume` goes on.
        trials: one row a trial, best first.
        configurations: one row for each that was trained again, best rank first; see
            `gansearch.analysis.configurations.configurations`.
        evidence: all that was known of it in the end; functions take it in the name's place.
        study: what `find` gives of it, which they take too.
    """

    directory: Place
    finished: bool
    trials: pd.DataFrame = field(repr=False)
    configurations: pd.DataFrame = field(repr=False)
    evidence: Evidence = field(repr=False)
    study: StoredStudy = field(repr=False)


@checked
def run(
    study: Study | PathLike,
    *,
    name: str | None = None,
    trials: int | None = None,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Run a study under Ray Tune.

    Args:
        study: a file, or what `load_study` gave.
        name: the study's name; None: the file's, with a number if that is taken.
        trials: in place of the file's `search.trials`.
        console: where progress is shown; None: standard error.
        where: where it is kept and runs, and with what.
        options: fields of `Where`, in place of those of `where`: `runs_dir="runs"`, `concurrency=2`.

    Returns:
        What has run, also after one Ctrl-C, which lets the study end gently (`finished` is False then).

    Raises:
        UserError: for anything that the user can mend: nothing was created, or, where the study had
            begun, `resume` goes on with it.
        Interrupted: Ctrl-C where nothing could end gently; the message says what was kept.
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options)
    if not isinstance(study, Study):
        study = load_study(study, data=where.data, where=where)
    spec, stem, images = study.spec, study.stem, [study.data]
    del study  # of what was loaded here there is to be one copy soon, in Ray's object store
    if trials is not None:
        spec = spec.with_trials(trials)
    with (
        as_was_said(where),
        StoredStudy.launching(name, stem, where.runs, where.storage) as stored,
    ):
        console = console or Console(stderr=True, emoji=False)
        if name is None and (there := stored.directory.instead_of(stem)):
            known = f"'{there.name}' (`gansearch resume {there.called}` goes on with that)"
            say(console, f"there is a study {known}; this one is '{stored.name}'", "dim")
        finished = launch.run(spec, images.pop(), stored, where, console)
    return _result(stored, finished)


@checked
def resume(
    name: StudyLike,
    *,
    trials: int | None = None,
    device_hours: float | None = None,
    resources: Mapping[str, Any] | None = None,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Go on with a study after any interruption, or with a finished one for more trials.

    Args:
        name: the study.
        trials: how many its search is to have in all, as if it had been asked for them from the
            beginning; None: as many as it was launched with.
        device_hours: how long they may take in all, of a search that was launched with such a limit.
        resources: what its workers hold from now on (`{"gpus": 0.5}`), in place of what the study's
            file says.
        console, where, options: as for `run`.

    Raises:
        StudyError: there is no such study, it is being run, its file has changed, or its search has
            more trials already.
    """
    from gansearch.tuning import launch  # noqa: PLC0415
    from gansearch.tuning.extension import More  # noqa: PLC0415

    where = combined(where, options)
    study, more = find(name, where=where), More(trials, device_hours, resources or {})
    return _result(
        study, launch.resume(study, where, console or Console(stderr=True, emoji=False), more)
    )


@checked
def stability(
    *what: PlaceLike,
    top: int | None = None,
    seeds: int | None = None,
    per: Literal["study", "loss"] | None = None,
    default: bool | None = None,
    around: float | None = None,
    of: str | int = "",
    axes: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Train configurations again on fresh seeds, without pruning.

    Args:
        what: a study, to whose stability study this adds; or files of configurations, or exports, which
            make a study of their own; or both.
        top: how many of the study's best; None: as its file says, else 5.
        seeds: how often each is trained in all; None: as the study's file says, else 10.
        per: the best of the whole `study`, or of each `loss`.
        default: whether the configuration with every axis at its default joins them.
        around: in (0, 1): train the neighbours of one configuration instead, each with one number
            multiplied by up to 1 - around and 1 + around.
        of: that configuration's label or trial number; "": the best.
        axes: dotted paths of the numbers to change; empty: all that the search varied.
        overrides: values in place of the configuration files', by dotted key.
        name: of a new study.
        console, where, options: as for `run`.

    Raises:
        UserError: for anything that the user can mend.
    """
    from gansearch.analysis.configurations import best_label  # noqa: PLC0415
    from gansearch.analysis.evidence import gather  # noqa: PLC0415
    from gansearch.tuning.again import Wish, train_again  # noqa: PLC0415

    wish = Wish(top, seeds, per, default, around, str(of), axes, overrides or {}, name)
    names, where = [str(each) for each in what], combined(where, options)
    shown = console or Console(stderr=True, emoji=False)
    return _result(*train_again(names, wish, where, shown, lambda study: best_label(gather(study))))


def _result(study: StoredStudy, finished: bool) -> StudyResult:
    from gansearch.analysis import configurations, tables  # noqa: PLC0415

    gathered = evidence(study)
    trials = tables.trials_table(gathered.search, gathered.metric, gathered.goal)
    ranking = configurations.configurations(gathered)
    return StudyResult(study.directory.path, finished, trials, ranking, gathered, study)
