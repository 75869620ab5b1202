"""A trained GAN as files: what `train` and `export` write, and `sample` reads.

A model's folder holds `config.yaml` (trains it again), `generator.safetensors` and
`discriminator.safetensors`, `samples.png`, `reports.csv` (its curve) and `model.json` (what it is, how
good, how that was measured, and with which versions). The weights are those of the best report; the
generator's are the averaged ones where the configuration averages.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gansearch import files
from gansearch.errors import UserError, WeightsError
from gansearch.files import Place
from gansearch.study.config import TrialConfig
from gansearch.study.document import read_document, write_document
from gansearch.study.records import Report, strict_json
from gansearch.training.building import Shape, build_generator
from gansearch.training.sampling import GRID_SEED, GRID_SIZE, NonFiniteSamples, generate

log = logging.getLogger(__name__)

VERSIONS = ("gansearch", "torch", "ray", "optuna", "mlflow", "numpy")


@dataclass(frozen=True)
class Model:
    """A generator with what is needed to use it."""

    generator: nn.Module
    config: TrialConfig
    facts: dict[str, Any]

    def sample(self, count: int, seed: int, device: str = "cpu") -> Tensor:
        """Images: uint8, count x C x H x W; a seed, the same images.

        Raises:
            UserError: the generator makes NaN or infinity of this noise.
        """
        where = torch.device(device)
        network = self.generator.to(where).eval()
        try:
            return generate(network, count, self.config.latent_size, seed, where)
        except NonFiniteSamples as error:
            raise UserError(f"{error}: nothing can be drawn of seed {seed}") from error


def write_model(
    folder: Path,
    state: Mapping[str, Any],
    shape: Shape,
    reports: Iterable[Report],
    facts: Mapping[str, Any],
) -> Path:
    """Write a model's folder from a checkpoint.

    Args:
        folder: where; made if it is not there.
        state: what `Trainer.state` gave.
        shape: (C, H, W) of the images.
        reports: the whole curve.
        facts: what `model.json` is to say besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = TrialConfig.model_validate(state["config"])
    averaged = config.ema is not None
    weights = state["averaged"] if averaged else state["generator"]
    save_file(_contiguous(weights), folder / "generator.safetensors")
    save_file(_contiguous(state["discriminator"]), folder / "discriminator.safetensors")
    (folder / "config.yaml").write_text(write_document(config.plain()), encoding="utf-8")
    write_reports(folder / "reports.csv", reports)
    known = {"image_shape": list(shape), "step": state["step"], "averaged": averaged}
    content = known | dict(facts) | {"versions": versions()}
    text = json.dumps(strict_json(content), indent=2, ensure_ascii=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    try:
        samples = read_model(folder).sample(GRID_SIZE, config.seed + GRID_SEED)
    except UserError as error:  # what was measured was finite, and this noise is other noise
        log.warning("no samples.png: %s", error)
    else:
        write_grid(samples, folder / "samples.png")
    return folder


def read_model(folder: Path) -> Model:
    """Read a model's folder, running no code from it; raises `UserError` or `WeightsError`."""
    needed = [folder / name for name in ("config.yaml", "model.json", "generator.safetensors")]
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise UserError(
            f"{folder} is not a model's folder: it has no {', '.join(missing)} "
            "(`gansearch export` and `gansearch train` make such folders)"
        )
    try:
        config = TrialConfig.model_validate(read_document(needed[0]).tree)
        facts = json.loads(needed[1].read_text(encoding="utf-8"))
        channels, height, width = facts["image_shape"]
        generator = build_generator(config, (channels, height, width), torch.device("cpu"))
    except (ValueError, KeyError, TypeError) as error:  # pydantic's and json's are ValueErrors
        raise UserError(f"{folder} is not as it was written: {error}") from error
    try:
        generator.load_state_dict(load_file(needed[2]))
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{needed[2]} does not fit its config.yaml: {error}") from error
    return Model(generator.eval(), config, facts)


def write_reports(path: Path, reports: Iterable[Report]) -> None:
    """A curve as CSV: step, images, seconds, then every metric."""
    rows = [{"step": r.step, "images": r.images, "seconds": r.seconds, **r.metrics} for r in reports]
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["step"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    files.write(path, text.getvalue())


def write_grid(images: Tensor, path: Place) -> None:
    """Write images (uint8, N x C x H x W) as one square PNG grid, enlarged if they are tiny."""
    grid = _tiled(images.cpu().expand(-1, 3, -1, -1))
    factor = max(1, 32 // images.shape[-1])
    picture = Image.fromarray(grid.permute(1, 2, 0).contiguous().numpy())
    size = (picture.width * factor, picture.height * factor)
    with files.writing(path) as file:
        picture.resize(size, Image.Resampling.NEAREST).save(file, format="PNG")


def _tiled(images: Tensor) -> Tensor:
    """N x C x H x W -> C x height x width: rows of a square, each image of several in a black line."""
    count, channels, height, width = images.shape
    if count == 1:
        return images[0]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = images.new_zeros(channels, rows * (height + 1) + 1, columns * (width + 1) + 1)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        grid[:, top : top + height, left : left + width] = image
    return grid


def write_real_grid(images: np.ndarray, path: Place) -> None:
    """Write some of a data set's images (uint8, N x C x H x W) as a grid, from all over the set, since
    many a set is ordered by class; as many as a grid of samples has.
    """
    places = np.linspace(0, len(images) - 1, min(GRID_SIZE, len(images))).round().astype(int)
    write_grid(torch.from_numpy(images[places]), path)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONS}


def _contiguous(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
