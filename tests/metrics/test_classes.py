from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from gansearch.data.domain import Images
from gansearch.data.images import ImageData
from gansearch.data.load import load
from gansearch.errors import DataError
from gansearch.metrics.classes import ClassAccuracy, ClassDistance
from gansearch.metrics.contract import Activations
from gansearch.metrics.frechet import fit, frechet_distance
from gansearch.metrics.reference import Evaluator, prepare
from gansearch.study.config import TrialConfig
from gansearch.study.document import parse_document
from gansearch.training.completion import complete
from gansearch.training.dry_run import rehearse
from gansearch.training.prepare import LocalPaths
from gansearch.training.prepare import prepare as prepare_study
from gansearch.training.sampling import EVALUATION_SEED
from gansearch.training.trainer import Trainer
from gansearch.training.validation import read_study

ABOUT_CLASSES = ("class_accuracy", "fd_within_classes", "fd_worst_class")
ASKED: list[tuple[str, dict[str, str]]] = [(name, {}) for name in (*ABOUT_CLASSES, "fd_classifier")]


@pytest.fixture(scope="module")
def evaluator(data: ImageData, cache: Path) -> Evaluator:
    return Evaluator(prepare(ASKED, data, cache_dir=cache))


@pytest.fixture(scope="module")
def others(stripes) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
    made = stripes(90, seed=1)
    return torch.tensor(made.images), torch.tensor(made.labels)


def test_samples_of_the_wrong_class_are_seen(
    evaluator: Evaluator, others: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = others
    right = evaluator.evaluate(images, labels)
    turned = evaluator.evaluate(images, (labels + 1) % 3)
    assert right["class_accuracy"] > 0.95
    assert turned["class_accuracy"] < 0.05
    assert turned["fd_within_classes"] > 10 * right["fd_within_classes"]
    assert turned["fd_classifier"] == right["fd_classifier"]  # which is blind to it


def test_the_mean_and_the_worst_are_those_of_the_classes(
    data: ImageData, evaluator: Evaluator, others: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = others
    spoilt = images.clone()
    spoilt[labels == 2] = images[labels == 2][:1]  # one class has lost its variety
    values = evaluator.evaluate(spoilt, labels)
    see = evaluator._extractors["classifier"]
    fake, real = (see(side).features for side in (spoilt, torch.tensor(data.images)))
    kinds = torch.tensor(data.labels)
    distances = [frechet_distance(fake[labels == c], fit(real[kinds == c])) for c in range(3)]
    assert values["fd_within_classes"] == pytest.approx(sum(distances) / 3, rel=1e-6)
    assert values["fd_worst_class"] == pytest.approx(distances[2], rel=1e-6)
    assert distances[2] == max(distances)


def test_a_class_with_one_sample_and_no_classes_at_all(
    evaluator: Evaluator, others: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = others
    few = torch.cat([torch.nonzero(labels != 2).flatten(), torch.nonzero(labels == 2).flatten()[:1]])
    values = evaluator.evaluate(images[few], labels[few])
    assert math.isnan(values["fd_within_classes"])
    assert values["class_accuracy"] > 0.95
    two = torch.cat([few, torch.nonzero(labels == 2).flatten()[1:2]])
    assert evaluator.evaluate(images[two], labels[two])["fd_within_classes"] > 0
    with pytest.raises(ValueError, match="generated samples have no classes"):
        evaluator.evaluate(images)


def test_real_samples_without_a_spread_of_a_class_and_an_odd_answer() -> None:
    labels = torch.tensor([0, 0, 1])
    answers = torch.eye(2)[labels]
    with pytest.raises(ValueError, match="class 1 has 1 real sample, and it takes 2"):
        ClassDistance().of_real(Activations(torch.rand(3, 4), answers, labels))
    assert ClassAccuracy()(Activations(torch.rand(3, 4), answers, labels), {}) == 1
    answers[2, 1] = math.nan
    assert math.isnan(ClassAccuracy()(Activations(torch.rand(3, 4), answers, labels), {}))


def test_the_floor_is_of_real_samples_with_their_own_classes(data: ImageData, cache: Path) -> None:
    origin = prepare(ASKED, data, cache_dir=cache, real_samples=200, samples=100).origin
    assert origin["class_accuracy"]["floor"]["value"] > 0.95
    assert 0 < origin["fd_within_classes"]["floor"]["value"] < 5


def conditional(told: bool) -> TrialConfig:
    network = {"name": "mlp", "depth": 1, "width": 16} | ({"conditional": True} if told else {})
    tree = {
        "generator": network,
        "discriminator": network,
        "budget": {"steps": 2, "report_every": 2},
        "evaluation": {"samples": 200, "metrics": [{"name": name} for name, _ in ASKED]},
        "objective": {"metric": "class_accuracy"},
    }
    return TrialConfig.model_validate(tree)


def test_a_training_measures_the_classes_that_it_asked_for(cache: Path) -> None:
    data = load("digits", {}, root=Path(), split="train")
    config, mistakes = complete(conditional(True), data.domain)
    assert mistakes == []
    trainer = Trainer(config, data, prepare_study(config, data, LocalPaths(cache, cache)))
    asked: list[Activations] = []
    evaluate = trainer._evaluator.evaluate

    def watched(images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        asked.append(Activations(images, None, labels))
        return evaluate(images, labels)

    trainer._evaluator.evaluate = watched  # type: ignore[method-assign,assignment]
    report = trainer.advance()
    assert 0 <= report.metrics["class_accuracy"] <= 1
    assert report.metrics["fd_worst_class"] >= report.metrics["fd_within_classes"] > 0
    (seen,) = asked
    seed = config.seed + EVALUATION_SEED
    assert seen.labels is not None
    assert seen.labels.tolist() == data.domain.labels_as_drawn(200, seed).tolist()
    assert torch.equal(seen.features, trainer.generate(200, seed))


def test_check_refuses_them_of_an_unconditional_generator() -> None:
    classes = tuple(map(str, range(10)))
    domain = Images((1, 8, 8), classes, (150,) * 10)
    assert complete(conditional(True), domain)[1] == []
    found = complete(conditional(False), domain)[1]
    assert [(".".join(map(str, place)), words[:50]) for place, words in found] == [
        (f"evaluation.metrics.{i}", f"{name} is about classes that were asked for: the"[:50])
        for i, name in enumerate(ABOUT_CLASSES)
    ]


@pytest.mark.parametrize("section", ["evaluation", "evaluation.final"])
def test_check_refuses_samples_of_which_a_class_is_likely_to_have_too_few(section: str) -> None:
    """Two of each class, with which a distance within it has a value: drawn as often as in the data."""
    classes = tuple(map(str, range(4)))
    domain = Images((1, 8, 8), (*classes, "nobody's"), (300, 300, 300, 100, 0))
    random = np.random.default_rng(0)

    def told(samples: int) -> dict[str, str]:
        tree = conditional(True).model_dump()
        few = {"metrics": [{"name": "fd_worst_class"}], "samples": samples}
        tree["evaluation"] = few if section == "evaluation" else tree["evaluation"] | {"final": few}
        tree["objective"] = {
            "metric": "fd_worst_class" if section == "evaluation" else "class_accuracy"
        }
        config = TrialConfig.model_validate(tree)
        assert complete(config, domain, launched=True)[1] == [], "what has begun goes on"
        return {".".join(map(str, place)): words for place, words in complete(config, domain)[1]}

    found = told(20)
    assert list(found) == [f"{section}.samples"]
    words = found[f"{section}.samples"]
    assert "fd_worst_class needs 2 of each class, and of 20 the rarest of 4 classes has 2" in words
    enough = int(words.rpartition(" ")[2].replace(",", ""))
    assert told(enough) == {}
    assert told(enough - 1)
    lacking = np.mean(random.multinomial(enough, [0.3, 0.3, 0.3, 0.1], 20_000).min(1) < 2)
    assert 0.003 < lacking < 0.012


def test_a_rehearsal_refuses_no_metric_for_the_few_images_that_it_is_of(cache: Path) -> None:
    """Of a hundred classes it has two or three images each; the data have fifty."""
    told = {"name": "mlp", "depth": 1, "width": 8, "conditional": True}
    tree = {
        "data": {"name": "stacked-mnist", "source": "digits", "digits": 2, "samples": 5000},
        "generator": told,
        "discriminator": told,
        "batch_size": 16,
        "evaluation": {
            "metrics": ["fd_within_classes", "class_accuracy"],
            "samples": 2000,
            "final": {"metrics": ["fd_worst_class"], "samples": 2000},
        },
        "objective": {"metric": "fd_within_classes"},
        "search": {"trials": 1},
    }
    places = LocalPaths(cache, cache)
    spec, data = read_study(parse_document(yaml.safe_dump(tree), "study.yaml"), cache)
    assert rehearse(spec, data, places) == 1
    lonely = data.pick(np.flatnonzero(np.asarray(data.labels) != 8))
    lonely = replace(lonely, labels=np.concatenate([[8], np.asarray(lonely.labels)[1:]]))
    with pytest.raises(DataError, match=r"'fd_within_classes' cannot .* class 8 has 1 real sample,"):
        rehearse(spec, lonely, places)
