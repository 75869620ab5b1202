"""A trained GAN as files: what `train` and `export` write, and `sample` reads.

A model's folder holds `config.yaml` (trains it again), `generator.safetensors` and
`discriminator.safetensors`, `samples.png`, `reports.csv` (its curve) and `model.json` (what it is, how
good, how that was measured, and with which versions); of points also `samples.npy` and `real.npy`, a
few real ones; and `modules`, where parts of it are the user's own. The weights are those of the best
report; the generator's are the averaged ones where the configuration averages.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import gansearch
from gansearch import files
from gansearch.data import drawing
from gansearch.data.domain import Domain, Points, domain_of
from gansearch.errors import DataError, InvalidInput, Problem, UserError, WeightsError
from gansearch.files import Place
from gansearch.modules import CARRIED, carried, keep
from gansearch.study.config import TrialConfig
from gansearch.study.document import dotted, read_document, write_document
from gansearch.study.mistakes import Mistakes, validate
from gansearch.study.records import Report, strict_json
from gansearch.training.blame import blaming
from gansearch.training.building import build_generator, is_conditional
from gansearch.training.sampling import GRID_SEED, GRID_SIZE, NonFiniteSamples, generate, picture_size
from gansearch.training.transfer import from_scratch

REAL = "real.npy"
"""A few real points, to be drawn beside generated ones."""

log = logging.getLogger(__name__)

VERSIONS = ("torch", "ray", "optuna", "mlflow", "numpy")


@dataclass(frozen=True)
class Model:
    """A generator with what is needed to use it.

    Attributes:
        generator: in evaluation mode.
        config: with which it was trained.
        facts: what `model.json` says.
        domain: what it has learnt.
    """

    generator: nn.Module
    config: TrialConfig
    facts: dict[str, Any]
    domain: Domain

    def sample(self, count: int, seed: int, device: str = "cpu", label: str | None = None) -> Tensor:
        """Samples as they are stored (images: uint8, count x C x H x W; points: float32, count x D); a
        seed, the same samples.

        Args:
            count: how many.
            seed: of their noise.
            device: where to make them.
            label: of a conditional generator: the class, by name or number; None: all the classes, as
                often as the data have them.

        Raises:
            UserError: there is no such class, or the generator knows of none, or no such seed, or
                memory does not hold so many, or it makes NaN or infinity of this noise.
        """
        if not 0 <= seed < 2**63:
            raise UserError(f"the seed {seed} must be a whole number from 0 to 2^63 - 1")
        _check_memory(count, self.domain)
        where = torch.device(device)
        network = self.generator.to(where).eval()
        labels = self._labels(count, seed, label)
        size = self.config.latent_size
        try:
            with blaming(self.config):
                return generate(network, count, size, seed, where, self.domain, labels=labels)
        except NonFiniteSamples as error:
            raise UserError(f"{error}: nothing can be drawn of seed {seed}") from error

    def _labels(self, count: int, seed: int, label: str | None) -> np.ndarray | None:
        if not is_conditional(self.generator):
            if label is not None:
                raise UserError("this generator knows no classes: it was trained without `conditional`")
            return None
        if label is None:
            return self.domain.labels_as_drawn(count, seed)
        try:
            return np.full(count, self.domain.label(label))
        except ValueError as error:
            raise UserError(str(error)) from error


def _check_memory(count: int, domain: Domain) -> None:
    """Raise `UserError` where so many samples, in parts and then together, do not fit into memory."""
    each = math.prod(domain.shape) * (1 if domain.kind == "images" else 4)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 2 * count * each > memory:
        most = memory // (2 * each)
        raise UserError(
            f"{count:,} {domain.kind} do not fit into memory, at most {most:,} do: draw fewer"
        )


def write_model(
    folder: Path,
    state: Mapping[str, Any],
    reports: Iterable[Report],
    facts: Mapping[str, Any],
    modules: Sequence[Path] = (),
    source: str = "the training's state",
) -> Path:
    """Write a model's folder from a checkpoint.

    Args:
        folder: where; made if it is not there.
        state: what `Trainer.state` gave.
        reports: the whole curve.
        facts: what `model.json` is to say besides.
        modules: of the user's, that its parts are in: they go along.
        source: the checkpoint's name in messages.

    Raises:
        UserError: it is no checkpoint of a training; nothing is written then.
    """
    if lacking := [key for key in ("config", "step", "generator", "discriminator") if key not in state]:
        raise WeightsError(f"{source} is no training's: it has no {', '.join(lacking)}")
    config = _config_of(state["config"], f"the configuration in {source}")
    domain = domain_of(state, source)
    averaged = config.ema is not None
    weights = state["averaged"] if averaged else state["generator"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_contiguous(weights), folder / "generator.safetensors")
    save_file(_contiguous(state["discriminator"]), folder / "discriminator.safetensors")
    (folder / "config.yaml").write_text(write_document(config.plain()), encoding="utf-8")
    write_reports(folder / "reports.csv", reports)
    known = {"domain": domain.plain(), "step": state["step"], "averaged": averaged}
    known["domain"].pop("shown", None)
    if domain.kind == "images":  # as version 0.1.0 reads it
        known["image_shape"] = list(domain.shape)
    if isinstance(domain, Points):
        np.save(folder / REAL, np.array(domain.shown, np.float32))
    content = known | dict(facts) | {"versions": versions()}
    text = json.dumps(strict_json(content), indent=2, ensure_ascii=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    keep(modules, folder / CARRIED)
    model = read_model(folder, trust=True)
    try:
        samples = model.sample(picture_size(domain), config.seed + GRID_SEED)
    except UserError as error:  # what was measured was finite, and this noise is other noise
        log.warning("no samples.png: %s", error)
        return folder
    write_picture(model.domain.draw(samples), folder / "samples.png")
    if isinstance(domain, Points):
        np.save(folder / "samples.npy", samples.numpy())
    return folder


def read_model(folder: Path, *, trust: bool = False) -> Model:
    """Read a model's folder, running no code from it unless it is trusted.

    Raises:
        UserError: it is none, or its generator is code that only it has and that is not trusted.
        WeightsError: the weights do not fit.
    """
    needed = [folder / name for name in ("config.yaml", "model.json", "generator.safetensors")]
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise UserError(
            f"{folder} is not a model's folder: it has no {', '.join(missing)} "
            "(`gansearch export` and `gansearch train` make such folders)"
        )
    config = _config_of(read_document(needed[0]).tree, str(needed[0]))
    facts = _json(needed[1])
    domain = with_real(domain_of(facts, str(needed[1])), folder / REAL)
    try:
        with carried(folder, config.generator.model_dump(), trust=trust), blaming(config):
            generator = build_generator(from_scratch(config), domain, torch.device("cpu"))
    except (ValueError, TypeError) as error:  # what no other part of the file has told
        raise UserError(f"{needed[0]} makes no generator here: {error}") from error
    try:
        generator.load_state_dict(load_file(needed[2]))
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{needed[2]} does not fit its config.yaml: {error}") from error
    return Model(generator.eval(), config, facts, domain)


def _config_of(tree: Any, source: str) -> TrialConfig:
    """A configuration as it was written; raises `InvalidInput`."""
    mistakes: Mistakes = []
    config = validate(TrialConfig, tree if isinstance(tree, Mapping) else {"": tree}, mistakes)
    if mistakes:
        raise InvalidInput(source, [Problem(dotted(path), message) for path, message in mistakes])
    return config


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file says; raises `InvalidInput` where it is none, or no mapping."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        problem = "" if isinstance(facts, dict) else "must be a mapping of keys to values"
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}"
    if problem:
        raise InvalidInput(str(path), [Problem("", problem)])
    return facts  # type: ignore[no-any-return]


def with_real(domain: Domain, path: Path) -> Domain:
    """A domain of points with the real ones that lie in an export; raises `DataError`."""
    if not isinstance(domain, Points) or not path.is_file():
        return domain
    try:
        shown = np.load(path, allow_pickle=False)
        if shown.ndim != 2 or shown.shape[1:] != domain.shape or shown.dtype.kind != "f":
            raise ValueError(f"it has {shown.dtype} of shape {[*shown.shape]}")
    except (ValueError, EOFError) as error:
        wanted = (
            f"points of {domain.shape[0]} numbers each, which pictures have beside the generated ones"
        )
        raise DataError(f"{path} is not {wanted}: {error}; without the file all else works") from error
    return replace(domain, shown=tuple(map(tuple, shown.tolist())))


def write_reports(path: Path, reports: Iterable[Report]) -> None:
    """A curve as CSV: step, images, seconds, then every metric."""
    rows = [{"step": r.step, "images": r.images, "seconds": r.seconds, **r.metrics} for r in reports]
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["step"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    files.write(path, text.getvalue())


def write_picture(picture: Image, path: Place) -> None:
    """Write a picture of samples as a PNG."""
    with files.writing(path) as file:
        picture.save(file, format="PNG")


def write_real_grid(images: np.ndarray, path: Place) -> None:
    """Write some of a data set's images (uint8, N x C x H x W) as a grid, from all over the set, since
    many a set is ordered by class; as many as a grid of samples has.
    """
    places = np.linspace(0, len(images) - 1, min(GRID_SIZE, len(images))).round().astype(int)
    write_picture(drawing.grid(torch.from_numpy(images[places])), path)


def versions() -> dict[str, str]:
    """The versions that a result depends on, of what is installed: to train, torch will do."""
    found = {"python": platform.python_version(), "gansearch": gansearch.__version__}
    for name in VERSIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _contiguous(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
