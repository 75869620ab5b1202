"""One trial's configuration file, and what only the parts know."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.data.domain import Images
from gansearch.errors import DataError, Doubt, InvalidInput, UserError
from gansearch.study.config import TrialConfig
from gansearch.study.document import parse_document, write_document
from gansearch.training.completion import complete
from gansearch.training.dry_run import MOST_OPTIONS, left_out, rehearse
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.settings import torch_threads
from gansearch.training.validation import load_config, read_study

DIGITS = Images((1, 8, 8))


@pytest.fixture
def loaded(tmp_path):
    def load(text: str) -> TrialConfig:
        (tmp_path / "c.yaml").write_text(text)
        return load_config(tmp_path / "c.yaml", tmp_path)[0]

    return load


def test_every_part_gets_its_defaults(loaded):
    config = loaded("data: digits\ngenerator: mlp\nloss: {name: hinge, penalty: r1}\n")
    assert config.generator.options["depth"] >= 1
    assert config.discriminator.options["norm"] == "spectral"
    assert config.loss.penalty.options == {"weight": 10.0}
    assert config.optimizer.generator.options == {"lr": 2e-4, "beta1": 0.5, "beta2": 0.999}
    assert config.objective.goal == "min"
    assert loaded(write_document(config.plain())) == config


def test_the_goal_is_the_metrics_own(loaded):
    assert loaded("objective: {metric: is_classifier}\n").objective.goal == "max"
    assert loaded("objective: {metric: g_loss, goal: max}\n").objective.goal == "max"


def test_completing_again_changes_nothing():
    config, found = complete(TrialConfig(), DIGITS)
    assert found == []
    assert complete(config, DIGITS) == (config, [])


def test_all_mistakes_of_a_configuration_are_told(loaded):
    with pytest.raises(InvalidInput) as caught:
        loaded(
            "latent_size: {int: [1, 2]}\n"
            "generater: mlp\n"
            "loss: {name: hingee, penalty: {name: r1, weigth: 3}}\n"
            "objective: {metric: fid}\n"
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "line 1, latent_size: needs an integer, not {'int': [1, 2]}",
        "line 2, generater: this key is not a configuration's (did you mean 'generator'?)",
        "line 3, loss.name: unknown loss 'hingee' (did you mean 'hinge'?)",
        "line 3, loss.penalty.weigth: not an option of 'r1' (did you mean 'weight'?)",
        "line 4, objective.metric: this study does not measure 'fid': add it to evaluation.metrics",
    ]


def test_a_data_set_that_raises_is_named_once(loaded, tmp_path, monkeypatch):
    (tmp_path / "away_data.py").write_text("def load(*_): raise OSError('away')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        loaded("data: 'away_data:load'\n")
    [told] = map(str, caught.value.problems)
    assert told.startswith("line 1, data: the data set 'away_data:load' raises OSError: away (")


def test_each_network_is_tried_at_the_size_of_the_data(loaded):
    with pytest.raises(InvalidInput) as caught:
        loaded("generator: {name: dcgan, depth: 3}\nloss: {name: hinge, x: 1}\n")
    generator, loss = map(str, caught.value.problems)
    assert generator.startswith("line 1, generator: dcgan: depth 3 at 8x8")
    assert loss.startswith("line 2, loss.x: not an option of 'hinge'")


@pytest.mark.parametrize(
    ("evaluation", "problem"),
    [
        ("samples: 10, metrics: [fd_classifier, {name: is_classifier, splits: 11}]",
         "evaluation.samples: is_classifier with splits: 11 needs at least 11"),
        ("samples: 900, metrics: [fd_classifier, kd_classifier]",
         "evaluation.samples: kd_classifier with subsets: 100, subset_size: 1000 needs at least 1,000"),
        ("samples: 50, real_samples: 40, metrics: [fd_classifier, {name: recall, neighbours: 45}]",
         "evaluation.real_samples: recall with neighbours: 45 needs at least 46"),
        ("metrics: [fd_classifier, {name: precision, features: clasifier}]",
         "evaluation.metrics[1]: unknown feature extractor 'clasifier' (did you mean 'classifier'?)"),
        ("metrics: [fd_classifier, {name: precision, features: mixture}]",
         "evaluation.metrics[1]: precision is a measure of points, and the data are images: ask for"
         " features: raw"),
    ],
)  # fmt: skip
def test_what_a_metric_lacks_is_told_at_check(loaded, evaluation, problem):
    with pytest.raises(InvalidInput) as caught:
        loaded(f"evaluation: {{{evaluation}}}\n")
    assert [str(each) for each in caught.value.problems] == [f"line 1, {problem}"]


def test_a_parts_name_is_no_axis_since_its_defaults_are_its_own(tmp_path):
    text = """
loss: {choice: [hinge, {name: minimax, penalty: {name: {choice: [r1, gradient-penalty]}}}]}
optimizer: {generator: {name: {choice: [adam, sgd]}, lr: 1e-3}}
discriminator: {name: dcgan, noise: {std: 0.1, schedule: {name: {choice: [constant, linear]}}}}
"""
    with pytest.raises(InvalidInput) as caught:
        read_study(parse_document(text, "s.yaml"), tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [
        "line 2, loss.choice[1].penalty.name: cannot be an axis: the part can, with its own options: "
        "{choice: [{name: r1}, {name: gradient-penalty}]}",
        "line 3, optimizer.generator.name: cannot be an axis: the part can, with its own options: "
        "{choice: [{name: adam}, {name: sgd}]}",
    ]
    told = parse_document(text.replace("{name: {choice: [adam, sgd]}, lr: 1e-3}", "sgd"), "s.yaml")
    read_study(told, tmp_path, launched=True)  # one of an earlier version goes on


def test_a_split_with_fewer_samples_than_a_metric_needs(tmp_path):
    text = "evaluation: {split: test, metrics: [fd_classifier, kd_classifier]}\n"
    spec, data = read_study(parse_document(text, "s.yaml"), tmp_path)
    with pytest.raises(
        DataError, match="'kd_classifier' cannot use these images: it needs at least 1,000"
    ):
        rehearse(spec, data, LocalPaths(tmp_path, tmp_path / "cache"))


def test_repeated_real_images_get_a_word(tmp_path):
    text = (
        "generator: {name: mlp, depth: 1, width: 8}\ndiscriminator: {name: mlp, depth: 1, width: 8}\n"
        "evaluation: {metrics: [fd_classifier, {name: precision, features: raw}]}\n"
    )
    spec, data = read_study(parse_document(text, "s.yaml"), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rehearse(spec, data, LocalPaths(tmp_path, tmp_path / "cache")) == 1
    data.images[100:104] = data.images[99]
    with pytest.warns(Doubt, match=r"5 of 1,500 real samples occur more than once, one image 5 times"):
        rehearse(spec, data, LocalPaths(tmp_path, tmp_path / "cache"))


@pytest.mark.parametrize(("metric", "often"), [("precision", 4), ("memorisation", 2)])
def test_check_refuses_repeated_real_images_where_a_run_does(tmp_path, metric, often):
    """By all of them: a hundredth is borne, and of the few of a rehearsal it would be three."""
    text = (
        "generator: {name: mlp, depth: 1, width: 8}\ndiscriminator: {name: mlp, depth: 1, width: 8}\n"
        "evaluation: {metrics: [fd_classifier], samples: 100, final: {samples: 100, metrics: "
        f"[{{name: {metric}, features: raw}}]}}}}\n"
    )
    spec, data = read_study(parse_document(text, "s.yaml"), tmp_path)
    places = LocalPaths(tmp_path, tmp_path / "cache")

    def repeat(rows):
        """Have images so often, in places that a rehearsal does not look at alone."""
        for row in rows:
            data.images[row + 1 : row + often] = data.images[row]

    seen = np.linspace(0, 1499, 256).astype(int)
    data.images[seen[3:6]] = data.images[seen[2]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Doubt)
        assert rehearse(spec, data, places) == 1
    repeat(range(100, 500, 50))
    with pytest.raises(
        DataError, match=rf"the metric '{metric}' cannot .* of 1,500 real samples occur"
    ):
        rehearse(spec, data, places)
    with pytest.raises(
        DataError, match=rf"the metric '{metric}' cannot .* of 1,500 real samples occur"
    ):
        prepare(spec.example(), data, places)


def test_a_rehearsal_takes_every_option_and_leaves_nothing(tmp_path):
    text = (
        "generator: {choice: [mlp, dcgan]}\n"
        "discriminator: {name: mlp, depth: 1, width: 8}\n"
        "loss: {choice: [hinge, minimax, {name: wasserstein, penalty: gradient-penalty}]}\n"
        "evaluation: {metrics: [fd_classifier, diversity]}\n"
    )
    spec, data = read_study(parse_document(text, "s.yaml"), tmp_path)
    with torch_threads(3):
        assert rehearse(spec, data, LocalPaths(tmp_path / "data", tmp_path / "cache")) == 5
        assert torch.get_num_threads() == 3, "which are its caller's"
    assert list(tmp_path.iterdir()) == []


def test_a_choice_of_thousands_is_tried_in_seconds_and_says_what_was_not(tmp_path):
    rates = [i / 10_000 for i in range(1, 2001)]
    text = (
        "generator: {name: mlp, depth: 1, width: 8}\n"
        "discriminator: {name: mlp, depth: 1, width: 8}\n"
        f"optimizer: {{generator: {{lr: {{choice: {rates}}}}}}}\n"
        "loss: {choice: [hinge, minimax]}\n"
        "evaluation: {metrics: [fd_classifier, diversity]}\n"
    )
    begun = time.process_time()
    spec, data = read_study(parse_document(text, "s.yaml"), tmp_path)
    assert rehearse(spec, data, LocalPaths(tmp_path / "data", tmp_path / "cache")) == MOST_OPTIONS
    assert time.process_time() - begun < 20, "a step of each takes some two minutes"
    assert left_out(spec) == [
        "optimizer.generator.lr: 1,938 of 2,000 options were not trained for a step; the values of all "
        "were checked, and their networks and losses built in outline"
    ]


def test_a_rehearsal_tries_what_the_stability_study_names_and_tells_all_that_fails(
    tmp_path, monkeypatch
):
    (tmp_path / "odd_losses.py").write_text(
        "from gansearch.losses.hinge import Hinge\n"
        "class Odd(Hinge):\n"
        "    def d(self, real, fake): raise TypeError('odd')\n"
        "class Even(Hinge):\n"
        "    def g(self, fake, real): raise TypeError('even')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "generator: {name: mlp, depth: 1, width: 8}\ndiscriminator: {name: mlp, depth: 1, width: 8}\n"
        "search: {trials: 0}\n"
        "stability:\n  configurations:\n    plain: {loss: hinge}\n"
        "    odd: {loss: 'odd_losses:Odd'}\n    even: {loss: 'odd_losses:Even'}\n"
    )
    spec, data = read_study(parse_document(text, "s.yaml"), tmp_path)
    with pytest.raises(UserError) as caught:
        rehearse(spec, data, LocalPaths(tmp_path, tmp_path / "cache"))
    odd, even = str(caught.value).splitlines()
    assert odd.startswith(
        "stability.configurations.odd: the loss 'odd_losses:Odd' raises TypeError: odd"
    )
    assert even.startswith("stability.configurations.even: the loss 'odd_losses:Even' raises TypeError")


def test_a_rehearsal_names_what_failed(tmp_path, monkeypatch):
    (tmp_path / "odd_parts.py").write_text(
        "from torch import nn\n"
        "class Odd(nn.Module):\n"
        "    def __init__(self, shape):\n"
        "        super().__init__(); self.layer = nn.Linear(3, 1)\n"
        "    def forward(self, images): return self.layer(images).squeeze(-1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "discriminator: 'odd_parts:Odd'\nevaluation: {metrics: [diversity]}\n"
    text += "objective: {metric: d_loss, goal: min}\n"
    spec, data = read_study(parse_document(text, "s.yaml"), Path())
    with pytest.raises(UserError, match=r"'odd_parts:Odd' raises RuntimeError: .*odd_parts.py, line 5"):
        rehearse(spec, data, LocalPaths(tmp_path, tmp_path))
