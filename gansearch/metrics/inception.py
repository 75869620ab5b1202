"""The Inception network of the standard FID and Inception Score, as torch-fidelity has it.

Its module does the work (TensorFlow 1's resize, the patched pooling); this file finds its weights
and reads them without ever unpickling code.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from gansearch.data import DataSet
from gansearch.errors import WeightsError
from gansearch.metrics.contract import Activations, Weights, in_batches, to_arrays, to_tensors

VARIABLE = "GANSEARCH_INCEPTION"
URL = URL_INCEPTION_V3
HEAD = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
BODY_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"


class Inception:
    """torch-fidelity's `inception-v3-compat`: 2048 features, 1008 classes if the head is there."""

    kind = "images"
    width = 2048

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._device = device
        self._has_head = HEAD.keys() <= weights.arrays.keys()
        self._network = _network(to_tensors(weights.arrays)).to(device)

    @staticmethod
    def obtain(data: DataSet, *, cache_dir: Path, weights_file: Path | None = None) -> Weights:  # noqa: ARG004
        """Read the weights, see `read`."""
        return Inception.read(weights_file)

    @staticmethod
    def read(weights_file: Path | None = None) -> Weights:
        """Read the weights: from `weights_file`, or $GANSEARCH_INCEPTION, or torch-fidelity's own.

        Accepted are torch-fidelity's .pth, the same as .safetensors, and the TorchScript file
        `fid_inception_v3_2015-12-05_body.pt`, which has no head and so gives no probabilities.
        torch-fidelity's own file is downloaded, if need be, where torch-fidelity looks for it.

        Raises:
            WeightsError: if there is no file, it cannot be downloaded, or it is something else.
        """
        path = _find(weights_file)
        state = _read(path)
        try:
            _network(state)
        except RuntimeError as error:
            raise WeightsError(
                f"{path} does not fit torch-fidelity's Inception: {str(error)[:300]}"
            ) from error
        return Weights.of(to_arrays(state), file=path.name)

    def __call__(self, images: Tensor) -> Activations:
        """Features N x 2048 and probabilities N x 1008 of uint8 images N x (1 or 3) x H x W."""
        return in_batches(self._see, images, 256 if self._device.type == "cuda" else 16)

    def _see(self, images: Tensor) -> Activations:
        features, logits = self._network(images.to(self._device).expand(-1, 3, -1, -1))
        return Activations(features, logits.softmax(1) if self._has_head else None)


class _Network(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's module, filled after its construction instead of during it.

    Its constructor reads a weights file with the full pickle, which runs whatever code the file
    holds. So it is handed an empty one that was written here, and what that gives is not loaded.
    """

    def __init__(self) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        layers = ["2048", "logits_unbiased"]
        with torch.device("meta"):  # no initial values: quick, and no draw from a generator
            super().__init__("inception-v3-compat", layers, feature_extractor_weights_path=nothing)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], **options: bool) -> Any:
        """Load as torch does; an empty state changes nothing."""
        return super().load_state_dict(state_dict, **options) if state_dict else None


def _network(state: Mapping[str, Tensor]) -> _Network:
    """The network with these weights, zeros for a missing head; `RuntimeError` for a misfit."""
    head = {name: torch.zeros(shape) for name, shape in HEAD.items()}
    network = _Network()
    network.load_state_dict({**head, **state}, assign=True)
    network.float().eval().requires_grad_(False)
    return network


def _find(weights_file: Path | None) -> Path:
    given = weights_file or os.environ.get(VARIABLE)
    if given:
        path = Path(given)
        if not path.is_file():
            raise WeightsError(f"no Inception weights at {path}")
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(URL).name
    return path if path.is_file() else _download(path)


def _download(path: Path) -> Path:
    beginning = path.stem.rsplit("-", 1)[-1]  # torch names such files by their SHA-256
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path), hash_prefix=beginning, progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the features `inception` (of fid, kid, inception_score) need the file {URL}, and it "
            f"cannot be downloaded ({error}). Download it elsewhere and give its path by --inception "
            f"FILE or {VARIABLE}; or take metrics of the features `classifier`, which need no "
            "download: fd_classifier, kd_classifier, is_classifier"
        ) from error
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, by torch-fidelity's names; the head may be missing."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        if _sha256(path) == BODY_SHA256:
            return _body(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # bytes of another kind may raise anything
        raise WeightsError(
            f"{path} is none of the Inception weights that can be read (torch-fidelity's .pth, "
            f"the same as .safetensors, fid_inception_v3_2015-12-05_body.pt): {str(error)[:300]}"
        ) from error


def _body(path: Path) -> dict[str, Tensor]:
    """The body's weights under torch-fidelity's names.

    Both networks list the same 94 convolutions in the same order; the body calls them otherwise
    and leaves out the normalisation's scale, which is 1.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated; the file is of 2015
        body = torch.jit.load(str(path), map_location="cpu").state_dict()
    theirs = [name.removesuffix(".weight") for name in body if name.endswith(".weight")]
    ours = [
        name.removesuffix(".conv.weight")
        for name in _Network().state_dict()
        if name.endswith(".conv.weight")
    ]
    state: dict[str, Tensor] = {}
    for their, our in zip(theirs, ours, strict=True):
        state[f"{our}.conv.weight"] = body[f"{their}.weight"]
        state[f"{our}.bn.weight"] = torch.ones_like(body[f"{their}.beta"])
        state[f"{our}.bn.bias"] = body[f"{their}.beta"]
        state[f"{our}.bn.running_mean"] = body[f"{their}.mean"]
        state[f"{our}.bn.running_var"] = body[f"{their}.var"]
    return state


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
