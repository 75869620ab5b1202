"""What a study says that would change nothing is told, and what might change something is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import gansearch
from gansearch.errors import Doubt, InvalidInput
from gansearch.study.document import parse_document, write_document
from gansearch.study.plan import Stability
from gansearch.training.prepare import LocalPaths
from gansearch.training.validation import read_study
from gansearch.tuning.from_configs import read_configs, study_of

NOWHERE = Path("/nonexistent")
STUDY = "data: digits\ngenerator: mlp\ndiscriminator: mlp\n"


def told(text: str) -> list[str]:
    try:
        read_study(
            parse_document(STUDY.replace(text.partition(":")[0] + ": mlp\n", "") + text, "s"), NOWHERE
        )
    except InvalidInput as error:
        return [str(each) for each in error.problems]
    return []


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("generator: {name: mlp, init: normal, weights: F}", "generator.init", "from `weights`"),
        ("generator: {name: mlp, init_std: 0.1, weights: F}", "generator.init_std", "from `weights`"),
        (
            "generator: {name: mlp, init: {choice: [own, normal]}, weights: {choice: [F, G]}}",
            "generator.init",
            "from `weights`",
        ),
        ("discriminator: {name: mlp, init_std: 0.1}", "discriminator.init_std", "another `init`"),
        (
            "discriminator: {name: mlp, init: kaiming, init_std: {log: [0.01, 0.1]}}",
            "discriminator.init_std",
            "another `init`",
        ),
        (
            "generator: {choice: [{name: mlp}, {name: dcgan, init_std: 0.1}]}",
            "generator.choice[1].init_std",
            "another `init`",
        ),
        ("discriminator: {name: mlp, classes: projection}", "discriminator.classes", "told no classes"),
        (
            "discriminator: {name: mlp, augment: {name: ada, probability: 0.2, target: 0.5}}",
            "discriminator.augment.target",
            "`probability` is fixed",
        ),
        (
            "discriminator: {name: mlp, augment: {name: ada, probability: 0.2, images: 9}}",
            "discriminator.augment.images",
            "`probability` is fixed",
        ),
        (
            "optimizer: {generator: {schedule: {end: 0.1}}}",
            "optimizer.generator.schedule.end",
            "schedule is constant",
        ),
        (
            "optimizer: {discriminator: {schedule: {name: linear, start: 0.1}}}",
            "optimizer.discriminator.schedule.start",
            "nothing rises",
        ),
        (
            "loss: {name: hinge, penalty: {name: r1, schedule: {name: constant, end: 0.1}}}",
            "loss.penalty.schedule.end",
            "schedule is constant",
        ),
        (
            "discriminator: {name: mlp, noise: {std: 0.1, schedule: {start: 0.5}}}",
            "discriminator.noise.schedule.start",
            "nothing rises",
        ),
        (
            "stability: {configurations: {wide: {optimizer: {generator: {schedule: {end: 0.1}}}}}}",
            "stability.configurations.wide.optimizer.generator.schedule.end",
            "schedule is constant",
        ),
        (
            "loss: vae\nevaluation: {held_out: 50}\nobjective: {metric: fd_classifier}",
            "evaluation.held_out",
            "the loss vae has no discriminator",
        ),
        (
            "loss: {choice: [vae, {name: vae, beta: 2}]}\nhealth: {stalled: {patience: 3}}",
            "health.stalled.patience",
            "the loss vae has no discriminator",
        ),
    ],
)
def test_what_changes_nothing_is_told_at_its_place(text, place, why):
    (line,) = [line for line in told(text + "\n") if "changes nothing" in line]
    assert f", {place}: changes nothing, for" in line
    assert why in line


@pytest.mark.parametrize(
    "text",
    [
        "generator: {name: mlp, init: own, init_std: 0.02, weights: F}",  # as resolved files say
        "generator: {name: mlp, init: normal, weights: {choice: [null, F]}}",
        "generator: {name: mlp, init: {choice: [own, normal]}, init_std: 0.1}",
        "discriminator: {name: mlp, classes: projection, conditional: {choice: [true, false]}}",
        "discriminator: {name: mlp, augment: {name: ada, target: 0.5}}",
        "optimizer: {generator: {schedule: {name: {choice: [constant, linear]}, end: 0.1}}}",
        "optimizer: {generator: {schedule: {warmup: {float: [0.1, 0.2]}, start: 0.1}}}",
        "loss: {choice: [vae, hinge]}\nevaluation: {held_out: 50}",
        "loss: vae\nevaluation: {held_out: 50}\nstability: {configurations: {game: {loss: hinge}}}",
        "evaluation: {held_out: 50}\nstability: {configurations: {coder: {loss: vae}}}",
        "loss: vae\nhealth: {stalled: {patience: 2}, collapsed: {patience: 3}}",
        "generator: {name: 'lost:Thing', init: normal, weights: F}",
        "generator: {name: lost, init: normal, weights: F}",
        "stability: {configurations: {point: {generator: {name: mlp, init: own, init_std: 0.1}}}}",
        "generator: {name: mlp, init: own, init_std: 0.1}\nsearch: {trials: 0}\n"
        "stability: {default: false, configurations: {point: {loss: hinge}}}",
        "loss: vae\nevaluation: {held_out: 50}\nsearch: {trials: 0}\n"
        "stability: {default: false, configurations: {point: {latent_size: 3}}}",
        "stability: {configurations: 3}",
    ],
)
def test_what_may_change_something_is_not(text):
    assert not [line for line in told(text + "\n") if "changes nothing" in line]


def test_a_point_of_a_search_is_trained_again_as_it_is(tmp_path):
    (tmp_path / "point.yaml").write_text(
        STUDY.replace(": mlp", ": {name: mlp, init: own, init_std: 0.05}") + "loss: vae\n"
        "evaluation: {metrics: [diversity], samples: 10, held_out: 9}\nobjective: {metric: diversity}\n"
        "budget: {steps: 4, report_every: 2}\nhealth: {collapsed: false, stalled: {patience: 3}}\n"
    )
    places = LocalPaths.of_environment(tmp_path, None)
    configs = read_configs([tmp_path / "point.yaml"], places)
    spec, _ = study_of(configs, Stability(seeds=2), 0, places)
    assert spec.configuration("point").generator.options["init_std"] == 0.05
    again = parse_document(write_document(spec.tree()), "its own file")
    assert read_study(again, NOWHERE)[0].digest == spec.digest


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("search: {trials: 6, sampler: {name: tpe, startup_trials: 6}}", "startup_trials is 6, and"),
        ("search: {trials: 6, sampler: {name: tpe, startup_trials: 5}}", ""),
        ("search: {trials: 6, sampler: tpe}", ""),
        (
            "search: {trials: 6, sampler: {name: random, belief: strong}}",
            "belief is strong, and no axis",
        ),
        ("search: {trials: 6, sampler: {name: random, belief: none}}", ""),
        ("pruner: {name: median, min_trials: 6}", "min_trials is 6, and a trial has 5 others"),
        ("pruner: {name: median, min_trials: 4}", ""),
        ("pruner: median", ""),
        ("pruner: {name: median, min_steps: 3}", "min_steps is 3, and the last report .* at step 2: m"),
        (
            "pruner: {name: hyperband, min_steps: 4}",
            "min_steps is 4, and the last report .* at step 2: h",
        ),
        ("pruner: {name: asha, min_steps: 2}", ""),
    ],
)
def test_check_doubts_a_sampler_and_a_pruner_that_are_told_what_never_comes(tmp_path, more, words):
    small = STUDY.replace(": mlp", ": {name: mlp, width: 8, depth: 1}")
    text = f"{small}latent_size: {{int: [2, 4]}}\nbudget: {{steps: 4, report_every: 2}}\n{more}\n"
    text += "evaluation: {metrics: [diversity], samples: 10}\nobjective: {metric: diversity}\n"
    text += "" if "search" in more else "search: {trials: 6}\n"
    (tmp_path / "s.yaml").write_text(text + "health: {collapsed: false, stalled: false}\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Doubt)
        assert gansearch.check(tmp_path / "s.yaml", data=tmp_path) == 1
    doubts = [str(each.message) for each in caught if each.category is Doubt]
    assert len(doubts) == bool(words), doubts
    if words:
        with pytest.warns(Doubt, match=words):
            warnings.warn(doubts[0], Doubt, stacklevel=1)
