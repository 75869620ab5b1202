"""Single models: the best taken home, one configuration trained by itself, samples drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from gansearch import files
from gansearch.api.reading import StudyLike, find
from gansearch.arguments import checked
from gansearch.errors import UserError
from gansearch.files import PathLike
from gansearch.masking import first_line
from gansearch.study.records import Report
from gansearch.tuning.where import StoredOptions, Where

if TYPE_CHECKING:
    import pandas as pd


MOST_THREADS = 1024
"""Of torch: what more of them do to a process, each system has its own word for."""

LARGEST_GRID = 10_000
"""Images in one picture: a hundred a side."""


@checked
def export(
    name: StudyLike,
    out: PathLike,
    *,
    top: int = 1,
    by: str = "iqm",
    searched: bool = False,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> list[Path]:
    """Write the best configurations, with weights, samples and evidence.

    Warns with a `gansearch.errors.Doubt` of each that did not end well.

    Args:
        name: the study.
        out: a new folder, or an empty one.
        top: how many, best first: by confirmed rank where configurations were trained again.
        by: the score of that rank, see `gansearch.analysis.configurations.SCORES`.
        searched: choose by the search's own values all the same.
        where, options: as for `run`.

    Returns:
        The models' folders, best first: `out` itself, or of several one in it for each.

    Raises:
        StudyError: there is no such study, fewer than `top` have a value, or their weights are gone.
        UserError: there is no such score, or `out` is in use.
    """
    from gansearch.exporting import export as write  # noqa: PLC0415

    study = find(name, where=where, **options)
    return write(study, _here(out), top, by=by, searched=searched)


@checked
def train(
    config: PathLike,
    out: PathLike,
    *,
    data: PathLike | None = None,
    inception: PathLike | None = None,
    device: str | None = None,
    threads: int = 1,
    trust: bool = False,
    on_begin: Callable[[str], None] = lambda _: None,
    on_report: Callable[[Report], None] = lambda _: None,
) -> pd.DataFrame:
    """Train one configuration by itself, without Ray, Optuna or MLflow.

    Args:
        config: its YAML file, hand-written or exported, or the folder of an export.
        out: the folder for the model; an interrupted training there is gone on with.
        data, inception: places on this machine.
        device: as torch names it; None: the GPU if there is one.
        threads: torch's meanwhile; as many as a trial had CPUs repeat it to the bit.
        trust: run the code that an export carries (`modules` beside its config.yaml).
        on_begin: called with each line that tells with which weights of an export it begins.
        on_report: called with each report.

    Returns:
        The curve, one row a report: `step` (generator updates), `images` (real ones that the
        discriminator has seen), `seconds` (of training and evaluation so far), `outcome` and `reason`
        (of the last row alone), and every metric.

    Raises:
        InvalidInput: with every mistake in the file, a missing data set among them.
        UserError: the device or the number of threads cannot be, `out` is in use or cannot be written,
            it needs code that is not trusted, a part of the user's own raises, or the training failed
            before its first report with a finite objective.
        KeyboardInterrupt: it was stopped; the same call goes on from the last report.
    """
    import pandas as pd  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from gansearch.modules import carried  # noqa: PLC0415
    from gansearch.study.document import configuration_file, read_document  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.settings import torch_threads  # noqa: PLC0415
    from gansearch.training.standalone import has_begun  # noqa: PLC0415
    from gansearch.training.standalone import train as train_alone  # noqa: PLC0415
    from gansearch.training.validation import load_config  # noqa: PLC0415

    if not 1 <= threads <= MOST_THREADS:
        raise UserError(f"--threads {threads}: must lie between 1 and {MOST_THREADS:,}")
    places = LocalPaths.of_environment(data, inception)
    path = configuration_file(Path(config))
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {where} cannot be used here: {first_line(error)}") from error
    tree = read_document(path).tree
    with carried(path.parent, tree, trust=trust) as modules, torch_threads(threads):
        folder = _here(out)
        checked, images = load_config(path, places.data, begun=has_begun(folder))
        reports = train_alone(
            checked,
            images,
            folder,
            places,
            device=where,
            modules=modules,
            on_begin=on_begin,
            on_report=on_report,
        )
    rows = [
        {
            "step": r.step,
            "images": r.images,
            "seconds": r.seconds,
            "outcome": r.outcome,
            "reason": r.reason,
            **r.metrics,
        }
        for r in reports
    ]
    return pd.DataFrame(rows)


@checked
def sample(
    folder: PathLike,
    out: PathLike,
    *,
    count: int = 64,
    seed: int = 0,
    label: str | int | None = None,
    trust: bool = False,
) -> Path:
    """Write samples from an exported generator; a seed, the same samples.

    Args:
        folder: the exported model.
        out: a file: `.npy` gets the samples themselves (images: uint8, N x C x H x W; points: float32,
            N x D), `.png` a picture of them, a grid of images or a scatter of points.
        count: how many; of images in a `.png` at most 10,000.
        seed: of their noise, from 0.
        label: of a conditional model: the class, by name or number; None: all, as often as in the data.
        trust: run the code that the folder carries, where the generator is of its maker's own.

    Returns:
        The file's path.

    Raises:
        UserError: the folder is not a model's, the model has no such class, it needs code that is
            not trusted, or `out` is no such file.
    """
    import numpy as np  # noqa: PLC0415

    from gansearch.training.export_folder import read_model, write_picture  # noqa: PLC0415

    if count < 1:
        raise UserError(f"--n {count}: must be at least 1")
    path = _here(out)
    files.check_output(path, ".png (a picture)", ".npy (the samples themselves)")
    drawn = path.suffix.lower() == ".png"
    model = read_model(Path(folder), trust=trust)
    if drawn and model.domain.kind == "images" and count > LARGEST_GRID:
        raise UserError(
            f"{count:,} images are too many for one picture, which has {LARGEST_GRID:,} at most: draw "
            "fewer, or name a .npy file"
        )
    samples = model.sample(count, seed, label=None if label is None else str(label))
    if drawn:
        write_picture(model.domain.draw(samples), path)
    else:
        with files.writing(path) as file:
            np.save(file, samples.numpy())
    return path


def _here(out: PathLike) -> Path:
    """Where to write what is taken home; raises `UserError` for a place that cannot be written."""
    path = files.on_disk(files.place(out), "what is exported", "say a path on this machine")
    files.check_writable(path.absolute().parent, "--out")
    return path
