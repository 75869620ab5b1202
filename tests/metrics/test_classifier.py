from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.data.images import ImageData
from gansearch.errors import DataError
from gansearch.metrics.classifier import Classifier
from gansearch.metrics.contract import Weights

Stripes = Callable[..., ImageData]
CPU = torch.device("cpu")


def test_it_learns_and_says_how_well(data: ImageData, cache: Path) -> None:
    weights = Classifier.obtain(data, cache_dir=cache)
    assert weights.facts == {"accuracy": 1.0}
    assert len(weights.digest) == 16
    seen = Classifier(weights, CPU)(torch.tensor(data.images))
    assert seen.features.shape == (400, 64)
    assert seen.probabilities is not None
    assert (seen.probabilities.argmax(1).numpy() == data.labels).mean() > 0.98
    assert torch.allclose(seen.probabilities.sum(1), torch.ones(400))


def test_it_is_trained_once_and_the_same_from_scratch(
    data: ImageData, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Classifier.obtain(data, cache_dir=cache)
    with caplog.at_level(logging.INFO):
        again = Classifier.obtain(data, cache_dir=cache)
    assert not caplog.messages
    assert again.digest == first.digest
    assert again.facts == first.facts
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert Classifier.obtain(data, cache_dir=tmp_path).digest == first.digest
    assert torch.equal(torch.get_rng_state(), before)


def test_building_one_draws_no_random_numbers(data: ImageData, cache: Path) -> None:
    weights = Classifier.obtain(data, cache_dir=cache)
    before = torch.get_rng_state()
    Classifier(weights, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_at_once_train_once(
    data: ImageData, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Classifier.obtain(data, cache_dir=cache)
    trained: list[str] = []

    def slowly(data: ImageData) -> Weights:
        time.sleep(0.2)
        trained.append(data.name)
        return sound

    monkeypatch.setattr("gansearch.metrics.classifier._train", slowly)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: Classifier.obtain(data, cache_dir=tmp_path), range(2)))
    assert [weights.digest for weights in both] == [sound.digest] * 2
    assert trained == ["stripes"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "foreign"])
def test_a_damaged_cache_is_trained_anew(
    damage: str, data: ImageData, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Classifier.obtain(data, cache_dir=cache)
    (written,) = cache.glob(f"*{data.digest}*.safetensors")
    content = bytearray(written.read_bytes())
    if damage == "flipped":
        content[-5] ^= 0xFF
    kept = {"cut": content[:-100], "emptied": b"", "foreign": b"hello"}.get(damage, content)
    (tmp_path / written.name).write_bytes(kept)
    trained: list[str] = []
    monkeypatch.setattr(
        "gansearch.metrics.classifier._train", lambda data: trained.append(data.name) or sound
    )
    assert Classifier.obtain(data, cache_dir=tmp_path).digest == sound.digest
    assert Classifier.obtain(data, cache_dir=tmp_path).digest == sound.digest
    assert trained == ["stripes"]
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 9), (3, 40)])
def test_any_size_from_8_and_both_channel_counts(
    channels: int,
    size: int,
    stripes: Stripes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gansearch.metrics.classifier.STEPS", (3, 3))
    data = stripes(40, channels=channels, size=max(size, 10))
    data = dataclasses.replace(data, images=data.images[:, :, :size, :size])
    seen = Classifier(Classifier.obtain(data, cache_dir=tmp_path), CPU)(torch.tensor(data.images))
    assert seen.features.shape == (40, 64)
    assert torch.isfinite(seen.features).all()


def test_data_without_classes_is_refused_with_the_way_out(data: ImageData, tmp_path: Path) -> None:
    unlabelled = dataclasses.replace(data, labels=None, classes=0)
    with pytest.raises(DataError, match=r"'stripes' has no labels.*give it the labels.*fd_raw or fid"):
        Classifier.obtain(unlabelled, cache_dir=tmp_path)
    single = dataclasses.replace(data, labels=np.zeros(400, np.int64), classes=1)
    with pytest.raises(DataError, match="only one class"):
        Classifier.obtain(single, cache_dir=tmp_path)
    tiny = dataclasses.replace(data, images=data.images[:, :, :7, :7])
    with pytest.raises(DataError, match=r"7 x 7 pixels.*at least 8 x 8"):
        Classifier.obtain(tiny, cache_dir=tmp_path)
