"""Image encoders from a TorchScript file of the user's: DINOv2 and CLIP.

Nothing is downloaded, and no architecture is rebuilt here: the file holds the network with its weights,
and its hash is in each metric's provenance. It travels to the trials as it is.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gansearch.data import DataSet
from gansearch.errors import WeightsError
from gansearch.masking import last_line
from gansearch.metrics.contract import Activations, Weights, in_batches

SIDE = 224  # pixels, of which the encoders' patches of 14, 16 and 32 are whole


class Encoder:
    """A network from float32 images N x 3 x 224 x 224 to features N x d.

    Attributes:
        variable: the environment variable that names the file.
        mean: of each channel of the images that it was trained on, from 0 to 1.
        deviation: likewise.
    """

    kind = "images"
    variable: ClassVar[str]
    title: ClassVar[str]
    mean: ClassVar[tuple[float, float, float]]
    deviation: ClassVar[tuple[float, float, float]]

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._device = device
        self._network = _load(io.BytesIO(weights.arrays["torchscript"].tobytes()), device)
        self._mean, self._deviation = (
            torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.deviation)
        )

    @classmethod
    def obtain(
        cls,
        data: DataSet,  # noqa: ARG003
        *,
        cache_dir: Path,  # noqa: ARG003
        weights_file: Path | None = None,  # noqa: ARG003  which is Inception's
    ) -> Weights:
        """Read the file, see `read`."""
        return cls.read()

    @classmethod
    def read(cls, path: Path | None = None) -> Weights:
        """The network in a file, or in the one that the environment names, tried on two images.

        Raises:
            WeightsError: no file is named, there is none, or it is no such network.
        """
        named = path or os.environ.get(cls.variable)
        if not named:
            raise WeightsError(
                f"{cls.title} features need a file: give the TorchScript of its image encoder by "
                f"{cls.variable}=FILE (docs/explanation/which-metric-to-trust.md tells how), "
                "or ask for fd_classifier, which needs none"
            )
        file = Path(named)
        if not file.is_file():
            raise WeightsError(f"{cls.variable}: there is no file {file}")
        content = file.read_bytes()
        _try(content, f"{cls.variable}: {file}")
        script = np.frombuffer(content, dtype=np.uint8)
        return Weights.of({"torchscript": script}, file=file.name)

    def __call__(self, images: Tensor) -> Activations:
        """Features N x d of uint8 images N x (1 or 3) x H x W."""
        return in_batches(self._see, images, 256 if self._device.type == "cuda" else 16)

    def _see(self, images: Tensor) -> Activations:
        shown = images.to(self._device).expand(-1, 3, -1, -1).float() / 255
        resized = F.interpolate(
            shown, size=(SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True
        ).clamp_(0, 1)
        features: Tensor = self._network((resized - self._mean) / self._deviation)
        return Activations(features.float(), None)


class DinoV2(Encoder):
    """DINOv2 (Oquab et al. 2023, arXiv 2304.07193), of the size that the file holds."""

    variable = "GANSEARCH_DINOV2"
    title = "DINOv2"
    mean = (0.485, 0.456, 0.406)  # ImageNet's
    deviation = (0.229, 0.224, 0.225)


class Clip(Encoder):
    """CLIP's image encoder (Radford et al. 2021, arXiv 2103.00020), of the size that the file holds."""

    variable = "GANSEARCH_CLIP"
    title = "CLIP"
    mean = (0.48145466, 0.4578275, 0.40821073)
    deviation = (0.26862954, 0.26130258, 0.27577711)


def _load(file: io.BytesIO, device: torch.device) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated, and reads what there is
        return torch.jit.load(file, map_location=device).eval()


def _try(content: bytes, where: str) -> None:
    """Raises `WeightsError` for what is no network from images to features."""
    try:
        network = _load(io.BytesIO(content), torch.device("cpu"))
    except Exception as error:  # bytes of another kind may raise anything
        raise WeightsError(f"{where} is no TorchScript file: {str(error)[:200]}") from error
    try:
        with torch.no_grad():
            found = network(torch.zeros(2, 3, SIDE, SIDE))
    except Exception as error:
        told = last_line(error)[:200]
        raise WeightsError(f"{where} does not take images 2 x 3 x {SIDE} x {SIDE}: {told}") from error
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 2:
        gives = [*found.shape] if isinstance(found, Tensor) else type(found).__name__
        raise WeightsError(f"{where} must give features 2 x d of two images, not {gives}")
