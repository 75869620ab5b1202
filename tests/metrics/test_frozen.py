from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gansearch.data.images import ImageData
from gansearch.errors import WeightsError
from gansearch.metrics.frozen import Clip, DinoV2, Encoder
from gansearch.metrics.reference import Evaluator, load_reference, prepare, read_weights, save_reference

ENCODERS = [("fd_dinov2", DinoV2), ("fd_clip", Clip)]


class Small(nn.Module):
    """An encoder of 224 x 224 images to six features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 6, 56, stride=56)

    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images).tanh().mean((2, 3))


class Map(Small):
    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.pt"
    torch.jit.script(Small()).save(str(path))
    return path


@pytest.mark.parametrize(("metric", "encoder"), ENCODERS)
def test_a_distance_on_a_files_features(
    metric: str, encoder: type[Encoder], file: Path, data: ImageData, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(encoder.variable, str(file))
    asked = [(metric, {}), ("precision", {"features": metric.removeprefix("fd_")})]
    known = read_weights(asked, None)
    file.unlink()  # a trial's machine need not have it
    reference = prepare(asked, data, cache_dir=tmp_path, known=known, samples=50)
    path = tmp_path / "reference.safetensors"
    save_reference(reference, path)
    monkeypatch.delenv(encoder.variable)
    evaluator = Evaluator(load_reference(path))
    near = evaluator.evaluate(torch.from_numpy(data.images[:100].copy()))
    far = evaluator.evaluate(torch.full((100, 1, 12, 12), 255, dtype=torch.uint8))
    assert 0 <= near[metric] < far[metric] / 10
    assert near["precision"] > far["precision"]
    origin = reference.origin[metric]
    assert origin["features_file"] == "small.pt"
    assert len(origin["features_hash"]) == 16


def test_images_are_normalised_as_the_network_was_trained(file: Path) -> None:
    """A white image is (1 - mean) / deviation in each channel, whatever its size."""
    weights = DinoV2.read(file)
    seen = DinoV2(weights, torch.device("cpu"))(torch.full((3, 1, 20, 20), 255, dtype=torch.uint8))
    white = (1 - torch.tensor(DinoV2.mean)) / torch.tensor(DinoV2.deviation)
    expected = Small()(white[None, :, None, None].expand(3, -1, 224, 224))
    torch.testing.assert_close(seen.features, expected, rtol=1e-4, atol=1e-5)
    assert seen.features.shape == (3, 6)


@pytest.mark.parametrize("encoder", [DinoV2, Clip])
def test_what_is_no_encoder_is_told(
    encoder: type[Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(encoder.variable, raising=False)
    with pytest.raises(
        WeightsError, match=f"{encoder.title} features need a file.*{encoder.variable}="
    ):
        encoder.read()
    monkeypatch.setenv(encoder.variable, str(tmp_path / "none.pt"))
    with pytest.raises(WeightsError, match=f"{encoder.variable}: there is no file"):
        encoder.read()
    odd = tmp_path / "odd.pt"
    odd.write_bytes(np.random.default_rng(0).bytes(400))
    with pytest.raises(WeightsError, match=r"odd\.pt is no TorchScript file"):
        encoder.read(odd)
    torch.jit.script(Map()).save(str(odd))
    with pytest.raises(WeightsError, match=r"must give features 2 x d .*, not \[2, 6, 4, 4\]"):
        encoder.read(odd)
    torch.jit.script(nn.Linear(7, 2)).save(str(odd))
    with pytest.raises(WeightsError, match=r"does not take images 2 x 3 x 224 x 224"):
        encoder.read(odd)
