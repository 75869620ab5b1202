from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import Dataset

from gansearch.data.images import ImageData
from gansearch.errors import WeightsError
from gansearch.metrics.contract import Weights
from gansearch.metrics.reference import Evaluator, prepare

CPU = torch.device("cpu")
FID = [("fid", {})]
DATA = ImageData("few", "train", np.arange(300).astype(np.uint8).reshape(3, 1, 10, 10), None, 0)


@pytest.fixture(scope="module")
def inception() -> ModuleType:
    """Loaded for these tests alone: torch's compiler comes with it, two seconds for who collects."""
    return importlib.import_module("gansearch.metrics.inception")


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inception: ModuleType
) -> None:
    monkeypatch.delenv("GANSEARCH_INCEPTION", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/weights-inception-6726825d.pth")


@pytest.fixture(scope="module")
def random_state(inception: ModuleType) -> dict[str, torch.Tensor]:
    """Small random weights, head included: right in shape, and quick to write."""
    generator = torch.Generator().manual_seed(0)
    names = inception._Network().state_dict()
    return {
        name: torch.ones(like.shape)
        if "running_var" in name or like.ndim < 2
        else torch.randn(like.shape, generator=generator) * 0.05
        for name, like in names.items()
        if "num_batches" not in name
    }


@pytest.fixture(scope="module")
def pth(random_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(random_state, path)
    return path


def obtain(path: Path | None = None) -> Weights:
    from gansearch.metrics.inception import Inception

    return Inception.obtain(DATA, cache_dir=Path("unused"), weights_file=path)


def test_offline_it_names_the_file_and_the_ways_out() -> None:
    with pytest.raises(WeightsError) as caught:
        obtain()
    for part in (
        "http://127.0.0.1:9/weights-inception-6726825d.pth",
        "cannot be downloaded",
        "--inception FILE",
        "GANSEARCH_INCEPTION",
        "(of fid, kid, inception_score)",
        "fd_classifier",
    ):
        assert part in str(caught.value)


def test_option_then_variable_then_download(
    pth: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = obtain(pth)
    assert asked.facts == {"file": "inception.pth"}
    monkeypatch.setenv("GANSEARCH_INCEPTION", str(tmp_path / "absent.pth"))
    assert obtain(pth).digest == asked.digest
    with pytest.raises(WeightsError, match=r"no Inception weights at .*absent\.pth"):
        obtain()
    monkeypatch.setenv("GANSEARCH_INCEPTION", str(pth))
    assert obtain().digest == asked.digest


def test_the_download_is_checked_and_kept_where_torch_fidelity_looks(
    pth: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inception: ModuleType
) -> None:
    served = tmp_path / f"weights-{hashlib.sha256(pth.read_bytes()).hexdigest()[:8]}.pth"
    served.symlink_to(pth)
    monkeypatch.setattr(inception, "URL", served.as_uri())
    assert obtain().digest == obtain(pth).digest
    assert (tmp_path / "hub" / "hub" / "checkpoints" / served.name).is_file()
    wrong = tmp_path / "weights-00000000.pth"
    wrong.symlink_to(pth)
    monkeypatch.setattr(inception, "URL", wrong.as_uri())
    with pytest.raises(WeightsError, match="invalid hash value"):
        obtain()


def test_safetensors_are_the_same_weights(
    pth: Path, random_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(random_state, tmp_path / "inception.safetensors")
    assert obtain(tmp_path / "inception.safetensors").digest == obtain(pth).digest


def test_gray_images_are_seen_as_colour_and_no_random_number_is_drawn(
    pth: Path, inception: ModuleType
) -> None:
    weights = obtain(pth)
    before = torch.get_rng_state()
    extractor = inception.Inception(weights, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    gray = torch.tensor(DATA.images)
    one, three = extractor(gray), extractor(gray.repeat(1, 3, 1, 1))
    assert one.features.shape == (3, 2048)
    assert one.probabilities is not None
    assert one.probabilities.shape == (3, 1008)
    assert torch.equal(one.features, three.features)


def test_without_a_head_there_is_fid_and_a_reason_for_no_score(
    random_state: dict[str, torch.Tensor], tmp_path: Path, inception: ModuleType
) -> None:
    path = tmp_path / "body.pth"
    torch.save({name: v for name, v in random_state.items() if name not in inception.HEAD}, path)
    prepared = prepare(FID, DATA, cache_dir=tmp_path, inception_weights=path)
    assert prepared.origin["fid"]["features_file"] == "body.pth"
    both = [*FID, ("inception_score", {})]
    with pytest.raises(WeightsError, match=r"body.*not its last layer"):
        prepare(both, DATA, cache_dir=tmp_path, inception_weights=path)


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Attack()}, "attack.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Attack()))
    for name in ("attack.pth", "plain.pth"):
        with pytest.raises(WeightsError, match="none of the Inception weights"):
            obtain(Path(name))
    assert not Path("owned").exists()


@pytest.mark.filterwarnings("ignore:'torch.load' received")
def test_other_files_are_refused_in_words(
    random_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    torch.save([1, 2], tmp_path / "list.pth")
    for name, content in {"text.pth": b"hello", "empty.pth": b"", "bad.safetensors": b"x"}.items():
        (tmp_path / name).write_bytes(content)
    for name in ("script.pt", "list.pth", "text.pth", "empty.pth", "bad.safetensors"):
        with pytest.raises(WeightsError, match="none of the Inception weights"):
            obtain(tmp_path / name)
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    torch.save({**random_state, "extra": torch.zeros(1)}, tmp_path / "more.pth")
    for name in ("other.pth", "more.pth"):
        with pytest.raises(WeightsError, match="does not fit torch-fidelity's Inception"):
            obtain(tmp_path / name)


@pytest.mark.data
def test_the_body_computes_what_its_own_code_does(
    body_file: Path, cifar: np.ndarray, inception: ModuleType
) -> None:
    """Our mapping of its names, against the file's own forward pass."""
    images = torch.tensor(cifar[:4]).float()
    large = torch.nn.functional.interpolate(images, size=(299, 299), mode="nearest")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        theirs = torch.jit.load(str(body_file), map_location="cpu")((large - 128) / 128)
    ours = inception.Inception(obtain(body_file), CPU)(large.to(torch.uint8))
    assert ours.probabilities is None
    torch.testing.assert_close(ours.features, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.data
def test_the_body_gives_no_inception_score(body_file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"body.*not its last layer"):
        prepare(
            [("inception_score", {})],
            DATA,
            cache_dir=tmp_path,
            inception_weights=body_file,
        )


class Images(Dataset[torch.Tensor]):
    def __init__(self, images: np.ndarray) -> None:
        self._images = torch.tensor(images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._images[index]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_equals_torch_fidelity_on_cifar10(
    body_file: Path, cifar: np.ndarray, tmp_path: Path, inception: ModuleType
) -> None:
    """500 real images against 500 others, real body; the head is random but the same for both.

    torch-fidelity's features are kept beside the data: a first run takes 400 s of a core, others half.
    """
    import torch_fidelity

    body = inception._read(body_file)
    generator = torch.Generator().manual_seed(0)
    head = {
        name: torch.randn(shape, generator=generator) * 0.2 for name, shape in inception.HEAD.items()
    }
    path = tmp_path / "complete.pth"
    torch.save({**body, **head}, path)
    fake, real = cifar[:500], cifar[500:1000]
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        fid=True,
        isc=True,
        kid=True,
        kid_subset_size=400,
        prc=True,
        feature_extractor="inception-v3-compat",  # which is not what it would take for `prc`
        feature_layer_prc="2048",
        cuda=False,
        cache_root=str(body_file.parent / "torch-fidelity"),
        input1_cache_name="cifar10-train-0-500-random-head-0",
        input2_cache_name="cifar10-train-500-1000-random-head-0",
        save_cpu_ram=True,
        verbose=False,
        batch_size=16,
        feature_extractor_weights_path=str(path),
    )
    data = ImageData("cifar10", "train", real, None, 0)
    neighbours = {"features": "inception", "neighbours": 3}
    asked = [
        *FID,
        ("inception_score", {}),
        ("kid", {"subset_size": 400}),
        ("precision", neighbours),
        ("recall", neighbours),
    ]
    reference = prepare(asked, data, cache_dir=tmp_path, inception_weights=path)
    ours = Evaluator(reference).evaluate(torch.tensor(fake))
    print(f"\n{ours}\n{theirs}")
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert ours["kid"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3, abs=1e-6)
    for name in ("precision", "recall"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-3)
    assert ours["inception_score"] == pytest.approx(theirs["inception_score_mean"], rel=1e-4)
