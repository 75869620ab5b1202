"""What is asked: study files read and checked, what there is to ask for, what this machine lacks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from gansearch import files
from gansearch.arguments import Whole, checked
from gansearch.files import PathLike
from gansearch.tuning.where import StoredOptions, TrackedOptions, Where, combined

if TYPE_CHECKING:
    from gansearch.data import DataSet
    from gansearch.journal.stored import StoredStudy
    from gansearch.study.spec import StudySpec
    from gansearch.study.starting import Given


@dataclass(frozen=True)
class Study(Whole):
    """A checked study file and its data, ready to be run.

    Attributes:
        spec: what is asked.
        data: the training images.
        stem: the file's name, from which a run takes its own.
    """

    spec: StudySpec = field(repr=False)
    data: DataSet = field(repr=False)
    stem: str


@checked
def load_study(
    path: PathLike,
    *,
    data: PathLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> Study:
    """Read and check a study file, and load the images that it names.

    Args:
        path: the YAML file.
        data: the folder of all data sets; None: that of `where`, GANSEARCH_DATA.
        overrides: values in place of the file's, by dotted key: {"search.trials": 8}.
        where, options: as for `run`: where the earlier studies are from which the search starts.

    Raises:
        InvalidInput: with every mistake in the file.
    """
    from gansearch.search.start import Known  # noqa: PLC0415
    from gansearch.training.validation import load_study as read  # noqa: PLC0415

    where = _reading(combined(where, options), data=data)
    known = Known(files.place(path).parent, where.runs, where.storage, _best_first)
    spec, images = read(path, where.paths.data, overrides, find=known, learn=known.learn)
    return Study(spec, images, Path(path).stem)


def _best_first(study: StoredStudy) -> Given:
    from gansearch.analysis.configurations import best_first  # noqa: PLC0415  it loads pandas
    from gansearch.analysis.evidence import gather  # noqa: PLC0415

    return best_first(gather(study))


@checked
def check(
    study: Study | PathLike,
    *,
    name: str | None = None,
    data: PathLike | None = None,
    inception: PathLike | None = None,
    where: Where | None = None,
    **options: Unpack[TrackedOptions],
) -> int:
    """Build every part of a study, ask its sampler and its pruner, look at where it would be kept, and
    train one tiny step of each option and of each configuration that its stability study names, on the
    CPU. Where choices have more than 64 options in all, so many are trained: at least one of each part,
    and the ends of numbers (`gansearch.api.untrained` says which are not).

    Args:
        study: a file, or what `load_study` gave.
        name: as for `run`.
        data, inception: places on this machine; None: those of `where`.
        where, options: as for `run`: where it would be kept and tracked.

    Returns:
        How many configurations were tried.

    Raises:
        UserError: naming the parts that failed, and the places.
    """
    from gansearch.errors import Doubt, UserError  # noqa: PLC0415
    from gansearch.journal.stored import StoredStudy  # noqa: PLC0415
    from gansearch.search.trying import idle_plan, try_plan  # noqa: PLC0415
    from gansearch.training.dry_run import rehearse  # noqa: PLC0415
    from gansearch.training.settings import left_alone  # noqa: PLC0415
    from gansearch.tuning.creation import check_storable  # noqa: PLC0415
    from gansearch.tuning.going_on import as_was_said  # noqa: PLC0415

    where = _reading(combined(where, options), data=data, inception=inception)
    if not isinstance(study, Study):
        study = load_study(study, where=where)
    mistakes = try_plan(study.spec, left_alone)
    try:
        with as_was_said(where):
            planned = StoredStudy.planned(name, study.stem, where.runs, where.storage)
        check_storable(planned, where)
        planned.check_unused(make=False)
    except UserError as error:
        mistakes.append(str(error))
    try:
        tried = rehearse(study.spec, study.data, where.paths)
    except UserError as error:
        raise UserError("\n".join([*mistakes, str(error)])) from error
    if mistakes:
        raise UserError("\n".join(mistakes))
    for words in idle_plan(study.spec):
        warnings.warn(words, Doubt, stacklevel=2)
    return tried


def _reading(where: Where, **places: PathLike | None) -> Where:
    """Where, with the places on this machine that are said in place of its own."""
    return where.but(**{name: place for name, place in places.items() if place is not None})


@checked
def untrained(study: Study) -> list[str]:
    """Of which options `check` trains no step, in words: a line for each choice that has too many."""
    from gansearch.training.dry_run import left_out  # noqa: PLC0415

    return left_out(study.spec)


@checked
def parts(kind: str | None = None, name: str | None = None, *, markdown: bool = False) -> str:
    """What there is: a text that describes parts with their options, or the keys of a study file.

    Args:
        kind: `loss`, `generator`, `metric` and so on; `study`: the study file's keys; None: all.
        name: of a part, or `package.module:Thing` of your own; with `study`, a dotted key.
        markdown: as a page rather than as text for a terminal.

    Raises:
        UserError: there is no such kind, part or key.
    """
    from gansearch.catalogue import pages  # noqa: PLC0415

    return (pages.markdown if markdown else pages.text)(kind, name)


@checked
def apart(study: Study) -> list[str]:
    """Why some of a study's trials will run alone, or uncompiled, against what its `resources` ask for:
    a line for each part that has no stacked counterpart, or cannot be compiled.
    """
    from gansearch.training.apart import apart as lines_of  # noqa: PLC0415

    configs = [config for _, config in study.spec.examples()]
    return lines_of(configs, study.spec.plan.resources, study.data.domain)


@checked
def starts(study: Study) -> list[str]:
    """With which weights of an export a study's networks begin, and which of their layers stay: a line
    for each.
    """
    from gansearch.training.transfer import starts as lines_of  # noqa: PLC0415

    return lines_of([config for _, config in study.spec.examples()])


@checked
def lacking(study: Study) -> list[str]:
    """What this machine has too little of for one trial of a study, in words; a cluster may have it."""
    import torch  # noqa: PLC0415

    from gansearch.tuning.nodes import lacking as without  # noqa: PLC0415

    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    return without(study.spec.plan.resources, [here], "this machine")
