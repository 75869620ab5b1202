"""Whole study files: what is valid, what stays the same, and every mistake at once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.errors import InvalidInput
from gansearch.study.axes import Choice
from gansearch.study.document import parse_document
from gansearch.study.spec import StudySpec
from gansearch.training.validation import read_study

ISSUE = """\
question: Which loss tolerates the widest range of learning rates on Fashion-MNIST?
data: {name: fashion-mnist, image_size: 32}
generator: {name: dcgan, depth: {int: [2, 4]}, width: 32}
discriminator: {name: dcgan, depth: {int: [2, 4]}, width: 32}
loss: {choice: [{name: non-saturating}, {name: hinge}, {name: wasserstein, penalty: {name: gradient-penalty, weight: {log: [0.1, 100]}}}]}
optimizer: {generator: {lr: {log: [1e-5, 1e-2]}}, discriminator: {lr: {log: [1e-5, 1e-2]}}}
budget: {steps: 2000, report_every: 200}
objective: {metric: fd_classifier, goal: min}
search: {sampler: tpe, trials: 40, seed: 0}
pruner: {name: asha, reduction_factor: 3, min_steps: 200}
resources: {cpus: 1, gpus: 0}
"""  # noqa: E501

NOWHERE = Path("/nonexistent")


def read(text: str, root: Path = NOWHERE, **how: bool) -> StudySpec:
    return read_study(parse_document(text, "s.yaml"), root, **how)[0]


def mistakes(text: str, root: Path = NOWHERE) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(text, root)
    return [str(problem) for problem in caught.value.problems]


def test_the_study_of_the_issue_is_valid(fashion_root):
    spec = read(ISSUE, fashion_root)
    assert [name for name, _ in spec.space.describe()] == [
        "generator.depth",
        "discriminator.depth",
        "loss",
        "loss.wasserstein.penalty.weight",
        "optimizer.generator.lr",
        "optimizer.discriminator.lr",
    ]
    assert (spec.goal, spec.plan.search.trials, spec.plan.pruner.min_steps) == ("min", 40, 200)


STUDY = ISSUE.replace("fashion-mnist, image_size: 32", "digits, image_size: 16").replace(
    "depth: {int: [2, 4]}", "depth: {int: [1, 2]}"
)


def test_a_resolved_study_reads_back_as_the_same_study():
    spec = read(STUDY)
    again = read(spec.to_yaml())
    assert again == spec
    assert again.digest == spec.digest
    assert again.to_yaml() == spec.to_yaml()


def test_nothing_is_left_to_look_up_in_a_resolved_study():
    tree = yaml.safe_load(read(STUDY).to_yaml())
    wasserstein = tree["loss"]["choice"][2]
    assert wasserstein["penalty"] == {"name": "gradient-penalty", "weight": {"log": [0.1, 100.0]}}
    assert tree["loss"]["choice"][1] == {"name": "hinge", "penalty": None}
    assert tree["generator"]["norm"] == "batch"
    assert tree["optimizer"]["generator"]["beta1"] == 0.5
    assert tree["evaluation"]["metrics"][0]["name"] == "fd_classifier"
    assert tree["health"]["stalled"]["patience"] == 2
    assert "seed" not in tree, "each trial gets a seed of its own"


def test_each_option_of_a_choice_gets_its_own_defaults():
    spec = read(
        "data: {name: digits, image_size: 16}\n"
        "generator: {choice: [dcgan, {name: mlp, depth: {int: [1, 2]}}, {name: dcgan, width: 8}]}\n"
        "loss: {name: hinge, penalty: {choice: [none, null, r1, {name: r1, weight: 2}]}}\n"
    )
    generators = list(spec.space.tree["generator"].options.values())
    assert [g["width"] for g in generators] == [64, 256, 8]
    assert generators[0]["norm"] == "batch"
    penalties = list(spec.space.tree["loss"]["penalty"].options.values())
    assert penalties[1] is None
    assert [p["weight"] for p in penalties[2:]] == [10.0, 2.0]
    assert read(spec.to_yaml()) == spec


SAME = [
    ("width: 32", "width:   0x20"),
    ("lr: {log: [1e-5, 1e-2]}", "lr: {log: [0.00001, 0.01]}"),
    ("weight: {log: [0.1, 100]}", "weight: {log: [1e-1, 1e+2]}"),
    ("{cpus: 1, gpus: 0}", "{cpus: 2, gpus: 0.5, retries: 0}"),
    ("{name: hinge}", "hinge"),
    ("pruner: {name: asha,", "pruner: {"),
    ("goal: min", "goal: null"),
    (", seed: 0", ""),
    ("budget:", "ema: 0.999\nbudget:"),
    (
        "{generator: {lr: {log: [1e-5, 1e-2]}}",
        "{generator: {beta1: 5e-1, name: adam, lr: {log: [1e-5, 1e-2]}}",
    ),
]
"""Spellings of the same study."""


@given(st.sets(st.sampled_from(SAME)), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_digest_is_that_of_what_is_asked_not_of_how(spellings, chance):
    text = STUDY
    for before, after in spellings:
        text = text.replace(before, after, 1)
    lines = text.splitlines()
    chance.shuffle(lines)
    assert read("\n".join(lines)).digest == DIGEST


def test_a_whole_number_where_a_fraction_is_meant_is_the_same_study():
    whole = "loss: {name: hinge, penalty: {choice: [{name: r1, weight: 1}]}}\nema: 0\n"
    assert read(whole).digest == read(whole.replace("1}", "1.0}").replace("ema: 0", "ema: 0.0")).digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("width: 32", "width: 33"),
        ("[1e-5, 1e-2]", "[1e-5, 2e-2]"),
        ("hinge", "minimax"),
        ("steps: 2000", "steps: 2001"),
        ("seed: 0", "seed: 1"),
        ("reduction_factor: 3", "reduction_factor: 4"),
        ("trials: 40", "trials: 41"),
        ("16}", "16}\nhealth: {stalled: false}"),
    ],
)
def test_another_study_has_another_digest(before, after):
    assert read(STUDY.replace(before, after, 1)).digest != DIGEST


DIGEST = read(STUDY).digest


def test_trials_share_all_but_their_point_and_have_seeds_of_their_own():
    spec = read(STUDY)
    chance = random.Random(0)

    def suggest(_, axis):
        return chance.choice(axis.ends())

    trials = [spec.trial(number, suggest) for number in range(20)]
    assert len({trial.seed for trial in trials}) == 20
    assert len({trial.loss.name for trial in trials}) == 3
    assert len({trial.budget for trial in trials}) == 1
    assert read(STUDY.replace("seed: 0", "seed: 1")).trial(0, suggest).seed != trials[0].seed
    fixed = read(STUDY + "seed: 7\n")
    assert {fixed.trial(number, suggest).seed for number in range(3)} == {7}


def test_every_mistake_of_a_file_is_told_at_once_in_its_order():
    told = mistakes(
        """\
question: 3
data: {name: digits, oops: 1}
generater: dcgan
generator:
  name: dcgan
  dept: {int: [2, 4]}
  width: {int: [8, 4]}
discriminator: {name: dcgam, depth: 2}
loss:
  choice:
    - {name: hinge}
    - {name: hingee}
    - name: wasserstein
      penalty:
        {name: gradient-penalty, wieght: 3}
optimizer:
  generator: {lr: {log: [0, 1]}}
  discriminator: {lr: fast}
batch_size: {choice: []}
latent_size: {uniform: [1, 2]}
ema: 2
budget:
  steps: {int: [1, 2]}
evaluation:
  samples: yes
  metrics:
    - fd_classifer
    - is_classifier
    - is_classifier
objective: {metric: is_classifier, goal: min}
search:
  trials: 0
  sed: 1
  sampler: {name: tpe, startup: 3}
pruner: {name: ashaa}
resources: {cpus: 0, gpus: -1}
health:
  collapsed: {min_diversty: 2}
  stalled: true
keep: 0
"""
    )
    assert told == [
        "line 1, question: needs text, not 3",
        "line 2, data.oops: not an option of 'digits'",
        "line 3, generater: not a key of a study (did you mean 'generator'?)",
        "line 6, generator.dept: not an option of 'dcgan' (did you mean 'depth'?)",
        "line 7, generator.width.int: the range [8, 4] is empty: low must be below high",
        "line 8, discriminator.name: unknown discriminator 'dcgam' (did you mean 'dcgan'?)",
        "line 12, loss.choice[1].name: unknown loss 'hingee' (did you mean 'hinge'?)",
        "line 15, loss.choice[2].penalty.wieght: not an option of 'gradient-penalty' "
        "(did you mean 'weight'?)",
        "line 17, optimizer.generator.lr.log: a log range must lie above 0, and 0 does not",
        "line 18, optimizer.discriminator.lr: needs a number, not 'fast'",
        "line 19, batch_size.choice: needs a list of options, not []",
        "line 20, latent_size: needs an integer, not 1.0",
        "line 21, ema: must be below 1, not 2",
        "line 23, budget.steps: cannot be an axis: 'budget' is shared by all trials; "
        "make a study for each value",
        "line 25, evaluation.samples: needs an integer, not true",
        "line 27, evaluation.metrics[0].name: unknown metric 'fd_classifer' "
        "(did you mean 'fd_classifier'?)",
        "line 29, evaluation.metrics[2]: the metric 'is_classifier' is asked for twice",
        "line 30, objective.goal: is_classifier is better the higher it is: say max",
        "line 32, search.trials: 0 trials, and no stability section: there is nothing to do",
        "line 33, search.sed: not a key of this section (did you mean 'seed'?)",
        "line 34, search.sampler.startup: not an option of 'tpe' (did you mean 'startup_trials'?)",
        "line 35, pruner.name: unknown pruner 'ashaa' (did you mean 'asha'?)",
        "line 36, resources.cpus: must be at least 1, not 0",
        "line 36, resources.gpus: must be at least 0, not -1",
        "line 38, health.collapsed.min_diversty: not a key of this section "
        "(did you mean 'min_diversity'?)",
        "line 39, health.stalled: needs false or a mapping of keys to values, not true",
        "line 40, keep: must be at least 1, not 0",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "data: {name: digits, image_size: 20}",
            [
                f"{side}: dcgan: image size 20 is not a power of two from 8: "
                "set data.image_size to 16 or 32"
                for side in ("generator", "discriminator")
            ],
        ),
        ("data: {name: digits, image_size: 4}", ["line 1, data.image_size: must be at least 8, not 4"]),
        ("resources: {lanes: 0}", ["line 1, resources.lanes: must be at least 1 or 'auto', not 0"]),
        (
            "resources: {lanes: many}",
            ["line 1, resources.lanes: needs an integer or 'auto', not 'many'"],
        ),
        ("batch_size: 2000000", ["line 1, batch_size: must be at most 1048576, not 2000000"]),
        ("data: 3", ["line 1, data: needs a name or a mapping of keys to values, not 3"]),
        ("generator: {choice: [mlp, dcgam]}", ["line 1, generator.choice[1].name: unknown generator"]),
        ("generator:", ["line 1, generator: needs a name or a mapping of keys to values, not null"]),
        (
            "generator: {choice: [dcgan, {name: mlp, depth: {int: [0, 3]}}]}",
            ["line 1, generator.choice[1].depth: must be at least 1, not 0"],
        ),
        ("generator: {name: mlp, depth: '2'}", ["line 1, generator.depth: needs an integer, not '2'"]),
        (
            "generator: {name: mlp, width: true}",
            ["line 1, generator.width: needs an integer, not true"],
        ),
        (
            "generator: {name: mlp, width: 64.0}",
            ["line 1, generator.width: needs an integer, not 64.0"],
        ),
        ("batch_size: '64'", ["line 1, batch_size: needs an integer, not '64'"]),
        ("ema: true", ["line 1, ema: needs a number, not true"]),
        (
            "optimizer: {generator: {beta1: {uniform: [-1, 2]}}}",
            [
                "line 1, optimizer.generator.beta1: must be at least 0, not -1.0",
                "line 1, optimizer.generator.beta1: must be below 1, not 2.0",
            ],
        ),
        (
            "optimizer: {generator: {lr: {lg: [1, 2]}}}",
            ["line 1, optimizer.generator.lr: needs a number, not {'lg': [1, 2]} (did you"],
        ),
        (
            "optimizer: {generator: {lr: [1, 2]}}\n",
            ["line 1, optimizer.generator.lr: needs a number, not [1, 2] (one of several, where"],
        ),
        (
            "optimizer: {generator: {lr: {choice: [1e-3, 0, -1.0]}}}",
            [
                "line 1, optimizer.generator.lr.choice[1]: must be above 0, not 0",
                "line 1, optimizer.generator.lr.choice[2]: must be above 0, not -1.0",
            ],
        ),
        (
            "optimizer: {generator: {lr: .nan}}",
            ["line 1, optimizer.generator.lr: needs a finite number"],
        ),
        (
            "objective: {metric: fid}",
            ["line 1, objective.metric: this study does not measure 'fid': add"],
        ),
        (
            "objective: {metric: fd_clasifier}",
            ["line 1, objective.metric: this study does not measure"],
        ),
        (
            "objective: {metric: g_loss}",
            ["line 1, objective.goal: 'g_loss' can be minimised or maximised"],
        ),
        ("objective: {goal: max}", ["line 1, objective.goal: fd_classifier is better the lower it is"]),
        ("objective: {goal: up}", ["line 1, objective.goal: must be 'min' or 'max', not 'up'"]),
        ("evaluation: {metrics: [is_classifier]}", ["objective.metric: this study does not measure"]),
        ("budget: {steps: 10}", ["line 1, budget: report_every is 100, more than steps, 10"]),
        (
            "budget: {steps: 100}\npruner:\n  min_steps: 300",
            ["line 3, pruner.min_steps: is 300, more than budget.steps, 100"],
        ),
        (
            "pruner: {name: median, min_trial: 3}",
            ["line 1, pruner.min_trial: not an option of 'median' (did you mean 'min_trials'?)"],
        ),
        (
            "pruner: {reduction_factor: 1}",
            ["line 1, pruner.reduction_factor: must be at least 2, not 1"],
        ),
        ("pruner: {name: none, reduction: 3}", ["line 1, pruner.reduction: not an option of 'none'"]),
        ("pruner: 3", ["line 1, pruner: needs a name or a mapping of keys to values, not 3"]),
        (
            "pruner: 'no.such:Pruner'",
            ["line 1, pruner.name: cannot import the pruner 'no.such:Pruner'"],
        ),
        ("search: {sampler: tpee}", ["line 1, search.sampler.name: unknown sampler 'tpee' (did you"]),
        (
            "search: {sampler: {name: tpe, candidates: 0}}",
            ["line 1, search.sampler.candidates: must be"],
        ),
        (
            "pruner: bohb",
            [
                "line 1, pruner.name: unknown pruner 'bohb' (there are: asha, hyperband, median, none)",
            ],
        ),
        ("loss: {penalty: r1}", ["line 1, loss.name: is required"]),
        ("loss: {name: hinge, penalty: {weight: 3}}", ["line 1, loss.penalty.name: is required"]),
        ("loss: {name: 'no.such:Loss'}", ["line 1, loss.name: cannot import the loss 'no.such:Loss'"]),
        (
            "latent_size: {int: [2, 8], step: 2}",
            [
                "line 1, latent_size: needs an integer, not {'int': [2, 8], 'step': 2} (an axis has "
                "one key, `int`, and at most a `default` beside it)"
            ],
        ),
        ("seed: {int: [1, 2]}", ["line 1, seed: cannot be an axis: 'seed' is shared by all trials"]),
        ("search: {trials: {int: [1, 2]}}", ["line 1, search.trials: needs an integer, not {'int'"]),
        ("1: 2", ["line 1, 1: not a key of a study"]),
    ],
)
def test_a_mistake_is_told_in_words_with_its_place(text, told):
    found = mistakes(text + "\n")
    assert len(found) == len(told)
    for line, start in zip(found, told, strict=True):
        assert line.startswith(start)


def test_what_fails_only_where_two_axes_meet_is_found():
    text = (
        "data: {name: digits, image_size: 16}\n"
        "discriminator: {name: mlp, width: {int: [8, 9]}, depth: {int: [1, 2]}}\n"
        "generator:\n"
        "  choice:\n"
        "    - {name: mlp, width: {int: [8, 9]}}\n"
        "    - {name: dcgan, width: {int: [8, 9]}, depth: {choice: [1, {int: [2, 5]}]}}\n"
    )
    [told] = mistakes(text)
    assert told.startswith("line 6, generator.choice[1]: dcgan: depth 5 at 16x16: at least 1, at most")


def test_a_missing_data_set_is_one_of_the_mistakes_in_its_place(tmp_path, offline):
    text = "generater: 1\ndata: {name: cifar10, image_size: 32}\nkeep: 0\n"
    first, second, third = mistakes(text, tmp_path)
    assert first.startswith("line 1, generater")
    assert second.startswith("line 2, data: data set 'cifar10' is not in")
    assert "--data DIR" in second
    assert third.startswith("line 3, keep")
    assert list(tmp_path.iterdir()) == [], "nothing is left of the try to download"


def test_a_choice_of_one_name_keeps_its_labels_when_read_back():
    spec = read("loss: {choice: [hinge, {name: hinge, penalty: r1}, minimax]}\n")
    choice = spec.space.tree["loss"]
    assert isinstance(choice, Choice)
    assert list(choice.options) == ["hinge#0", "hinge#1", "minimax"]
    assert read(spec.to_yaml()) == spec


TIED = STUDY.replace(
    "discriminator: {lr: {log: [1e-5, 1e-2]}}", "discriminator: {lr: {same: optimizer.generator.lr}}"
)


def test_tied_values_survive_being_written_and_read_back():
    spec = read(TIED + "latent_size: {same: batch_size}\nbatch_size: {choice: [8, {int: [9, 10]}]}\n")
    again = read(spec.to_yaml())
    assert again == spec
    assert again.digest == spec.digest != DIGEST
    assert again.to_yaml() == spec.to_yaml()
    tree = yaml.safe_load(spec.to_yaml())
    assert tree["optimizer"]["discriminator"]["lr"] == {"same": "optimizer.generator.lr"}
    assert tree["latent_size"] == {"same": "batch_size"}
    assert "optimizer.generator.lr" in spec.space.axes()
    assert not {"optimizer.discriminator.lr", "latent_size"} & spec.space.axes().keys()


def test_a_trial_of_a_tied_study_is_fully_resolved():
    trial = read(TIED).trial(3, lambda _, axis: axis.ends()[-1])
    sides = (trial.optimizer.generator, trial.optimizer.discriminator)
    assert [side.options["lr"] for side in sides] == [1e-2, 1e-2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (  # the one mistake is told where the value is, not again where it is followed
            "optimizer:\n  generator: {lr: {choice: [1e-3, 0]}}\n"
            "  discriminator: {lr: {same: optimizer.generator.lr}}",
            ["line 2, optimizer.generator.lr.choice[1]: must be above 0, not 0"],
        ),
        (
            "optimizer:\n  generator: {lr: {log: 3}}\n"
            "  discriminator: {lr: {same: optimizer.generator.lr}}",
            ["line 2, optimizer.generator.lr.log: needs two numbers"],
        ),
        (  # fine where it is, wrong where it is followed
            "optimizer:\n  generator: {lr: {log: [0.1, 3]}}\n"
            "  discriminator: {beta1: {same: optimizer.generator.lr}}",
            ["line 3, optimizer.discriminator.beta1: must be below 1, not 3.0"],
        ),
        (
            "loss:\n  name: hinge\n  penalty:\n    choice:\n      - {name: r1, weight: 2}\n"
            "      - {name: gradient-penalty, weight: {same: optimizer.generator.lr}}",
            ["line 6, loss.penalty.choice[1].weight.same: 'optimizer.generator.lr' has no value in"],
        ),
        (
            "discriminator: {same: generator}\ngenerator: dcgan",
            ["line 1, discriminator.same: 'generator' is a mapping: a tie follows a single value"],
        ),
        (  # which would hold itself
            "loss: {name: hinge, penalty: {name: r1, weight: {same: loss}}}",
            ["line 1, loss.penalty.weight.same: 'loss' is a mapping: a tie follows a single value"],
        ),
        (
            "loss: {name: hinge, penalty: {same: loss}}",
            ["line 1, loss.penalty.same: 'loss' is a mapping: a tie follows a single value"],
        ),
        (
            "budget: {report_every: {same: latent_size}}\nlatent_size: {int: [10, 20]}",
            ["line 1, budget.report_every: cannot be an axis: 'budget' is shared by all trials"],
        ),
        (
            "latent_size: {sam: batch_size}",
            ["line 1, latent_size: needs an integer, not {'sam': 'batch_size'} (did you mean 'same'?)"],
        ),
    ],
)
def test_a_tie_that_cannot_be_is_told_in_its_place(text, told):
    found = mistakes(text + "\n")
    assert len(found) == len(told), found
    for line, start in zip(found, told, strict=True):
        assert line.startswith(start)


STABILITY = """
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 3]}}
discriminator: {name: mlp}
search: {trials: 0}
stability:
  seeds: 4
  configurations:
    small: {generator: {name: mlp, depth: 1}, loss: hinge}
    plain: {}
published:
  source: a paper
  metric: fid
  values: {hinge: {mean: 29.6, sd: 1.6}, non-saturating: {mean: 9.8}}
"""


def test_given_configurations_stand_on_the_studys_own():
    spec = read(STABILITY)
    small, plain = spec.configuration("small"), spec.configuration("plain")
    assert (small.generator.options["depth"], small.loss.name) == (1, "hinge")
    assert small.discriminator.name == "mlp"
    assert plain.generator.options["depth"] == 3, "an axis is at its default"
    assert plain == spec.default
    assert read(spec.to_yaml()) == spec
    assert read(spec.to_yaml()).digest == spec.digest


def test_mistakes_in_given_configurations_are_told_at_their_place():
    text = STABILITY.replace("depth: 1", "depth: 0").replace(
        "plain: {}", "trial 3: {budgt: 1, data: mnist}"
    )
    text = text.replace("seeds: 4", "seeds: 0").replace("mean: 9.8", "maen: 9.8")
    place = "stability.configurations"
    assert mistakes(text) == [
        "line 7, stability.seeds: must be at least 1, not 0",
        f"line 9, {place}.small.generator.depth: must be at least 1, not 0",
        f"line 10, {place}.trial 3: the label 'trial 3' is taken: call it something else",
        f"line 10, {place}.trial 3.budgt: is not a section of a configuration (there are: "
        "batch_size, discriminator, discriminator_steps, ema, generator, latent_size, loss, optimizer, "
        "precision)",
        f"line 10, {place}.trial 3.data: is shared by all trials",
        "line 14, published.values.non-saturating.mean: is required",
        "line 14, published.values.non-saturating.maen: not a key of this section",
    ]
    many = STABILITY.replace("seeds: 4", "top: 1000000000\n  seeds: 100000000000000000000")
    assert sorted(mistakes(many)) == [
        "line 7, stability.top: must be at most 10000, not 1000000000",
        "line 8, stability.seeds: must be at most 10000, not 100000000000000000000",
    ]


MOST = ["search: {trials: N}", "search: {seed: N}", "search: {budget: {trials: N}}"]
MOST += ["budget: {steps: N}", "budget: {report_every: N}", "keep: N", "resources: {cpus: N}"]
MOST += ["resources: {retries: N}", "loss: {name: hinge, penalty: {name: r1, every: N}}"]


@pytest.mark.parametrize("text", MOST)
def test_numbers_that_a_journal_could_not_hold_are_told(text):
    (told,) = mistakes(
        f"data: digits\ngenerator: mlp\n{text.replace('N', '10000000000000000000000')}\n"
    )
    assert told.startswith("line 3, ")
    assert "must be " in told


def test_published_values_of_a_loss_that_no_trial_has_are_told_at_their_place():
    penalised = "hinge + r1: {mean: 1}, minimax: {mean: 2}, hinge + r2: {mean: 3}}"
    text = STABILITY.replace("minimax", "hinge").replace(
        "sd: 1.6}, non-saturating: {mean: 9.8}}", "sd: 1.6}, " + penalised
    )
    text += "loss: {choice: [least-squares, {name: hinge, penalty: {choice: [null, {name: r1}]}}]}\n"
    assert mistakes(text) == [
        "line 14, published.values.minimax: no trial has this loss and penalty "
        "(there are: hinge, hinge + r1, least-squares, non-saturating)",
        "line 14, published.values.hinge + r2: no trial has this loss and penalty "
        "(did you mean 'hinge + r1'?)",
    ]
    assert read(text, launched=True), "a study that has begun goes on"


IDLE = "latent_size: 0\ngenerator: {name: mlp, init: {choice: [own, normal]}, weights: WEIGHTS}\n"


def test_an_axis_of_how_a_network_begins_that_begins_with_weights_is_told():
    assert not any("changes nothing" in line for line in mistakes(IDLE.replace("WEIGHTS", "null")))
    (told,) = [line for line in mistakes(IDLE.replace("WEIGHTS", "export")) if "nothing" in line]
    assert told.startswith(
        "line 2, generator.init: changes nothing, for the network starts from `weights`"
    )
    optional = IDLE.replace("WEIGHTS", "{choice: [null, export]}")
    assert not any("changes nothing" in line for line in mistakes(optional))


def test_a_default_that_cannot_be_built_is_none():
    text = "data: digits\ngenerator: {choice: [{name: mlp}]}\ndiscriminator: {name: mlp}\n"
    assert read(text).default.generator.name == "dcgan"
    assert read(text + "latent_size: {int: [1, 2]}").default.latent_size == 64
    odd = (
        "data: {name: digits, image_size: 9}\ngenerator: {choice: [{name: mlp}]}\ndiscriminator: mlp\n"
    )
    assert read(odd).default is None, "a dcgan makes no images of 9x9"


def test_the_default_keeps_its_ties():
    text = "data: digits\ngenerator: mlp\ndiscriminator: mlp\noptimizer:\n"
    text += "  generator: {lr: {log: [1e-5, 1e-2]}, beta1: 0.0}\n"
    text += "  discriminator: {lr: {same: optimizer.generator.lr}, "
    text += "beta1: {same: optimizer.generator.beta1}}\n"
    generator, discriminator = (
        read(text).default.optimizer.generator.options,
        read(text).default.optimizer.discriminator.options,
    )
    assert discriminator["beta1"] == generator["beta1"] == 0.0
    assert discriminator["lr"] == generator["lr"] == 2e-4


ASHA = {"name": "asha", "reduction_factor": 3, "second_chances": False}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("keep: 5", ASHA),
        ("pruner: asha", ASHA),
        ("pruner: {min_steps: 200}", ASHA | {"min_steps": 200}),
        ("pruner: median", {"name": "median", "min_trials": 5}),
        ("pruner: none", {"name": "none"}),
        # As version 0.1.0 wrote it in every study.yaml without a pruner.
        ("pruner: {name: none, reduction_factor: 3}", {"name": "none"}),
        ("pruner: {name: none, reduction_factor: 3, min_steps: 9}", {"name": "none"}),
    ],
)
def test_a_pruner_s_options_are_its_own_and_filled_in(written, meant):
    spec = read_study(parse_document(written, "s.yaml"), Path())[0]
    assert spec.tree()["pruner"] == meant
    again = read_study(parse_document(spec.to_yaml(), "s.yaml"), Path())[0]
    assert again.plan == spec.plan
    assert again.digest == spec.digest
