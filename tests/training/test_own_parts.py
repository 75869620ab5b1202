"""A user's own part that does something else than its kind should: told in a sentence, at `check`."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gansearch
from gansearch.data.images import ImageData
from gansearch.errors import Doubt, InvalidInput, UserError
from gansearch.losses import PENALTIES
from gansearch.metrics import reference as measuring
from gansearch.metrics.contract import Activations
from gansearch.metrics.door import MetricError, statistics_of, value_of
from gansearch.study.document import parse_document
from gansearch.training import checkpoint, settings
from gansearch.training.dry_run import rehearse
from gansearch.training.outputs import OutputError, check_output
from gansearch.training.prepare import LocalPaths, prepare, reservations
from gansearch.training.standalone import train
from gansearch.training.trainer import Trainer
from gansearch.training.validation import load_config, read_study

GENERATOR = """
import numpy as np
import torch
from torch import nn
from gansearch.losses.hinge import Hinge

class G(nn.Module):
    def __init__(self, shape, latent_size, *, strength: float = 1.0):
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(latent_size, torch.Size(shape).numel())
        BUILD
    def forward(self, latents):
        images = self.layer(latents).view(-1, *self.shape)
        RUN
        return images.tanh()

class D(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(torch.Size(shape).numel(), 1)
    def forward(self, images):
        logits = self.layer(images.flatten(1))
        JUDGE
        return logits.flatten()

class L(Hinge):
    def d(self, real, fake):
        LOSS
        return super().d(real, fake)

class M:
    features, goal, compares_real = None, "min", True
    def __init__(self):
        MAKE
        pass
    def of_real(self, real):
        REAL
        return {}
    def __call__(self, fake, real):
        VALUE
        return 1.0
"""
STUDY = """
data: digits
generator: 'PARTS:G'
discriminator: 'PARTS:D'
loss: 'PARTS:L'
batch_size: 16
evaluation: {samples: 32, metrics: ['PARTS:M']}
objective: {metric: 'PARTS:M'}
budget: {steps: 2, report_every: 1}
"""
HOOKS = ("BUILD", "RUN", "JUDGE", "LOSS", "MAKE", "REAL", "VALUE")


def module_of(folder, monkeypatch, source):
    """The name of a module of the user's own that can be imported, another one in each test."""
    name = f"own_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    return name


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A module of parts, with statements put into their methods; and the study that names them."""
    made = []

    def make(**statements: str):
        name = f"parts_{tmp_path.name.replace('-', '_')}_{len(made)}"
        made.append(name)
        text = GENERATOR
        for hook in HOOKS:
            text = text.replace(hook, statements.get(hook, "pass"))
        (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "study.yaml").write_text(STUDY.replace("PARTS", name))
        return tmp_path / f"{name}.py", parse_document(STUDY.replace("PARTS", name), "study.yaml")

    monkeypatch.syspath_prepend(tmp_path)
    return make


@pytest.fixture
def checked(tmp_path):
    """`check`, from the file to the rehearsal."""

    def check(document):
        spec, data = read_study(document, tmp_path)
        return rehearse(spec, data, LocalPaths(tmp_path / "data", tmp_path / "cache"))

    return check


# What a part raises

KINDS = {
    "BUILD": "generator",
    "RUN": "generator",
    "JUDGE": "discriminator",
    "LOSS": "loss",
    "MAKE": "evaluation.metrics",
    "REAL": "metric",
    "VALUE": "metric",
}


RAISING = {
    "{}['depth']": "KeyError: 'depth'",
    "None.x": "AttributeError",
    "assert False": "AssertionError",
    "1 / 0": "ZeroDivisionError",
    "raise OSError('odd')": "OSError: odd",
    "int(None)": "TypeError",
    "raise RuntimeError('odd')": "odd",
    "raise SystemExit('odd')": "SystemExit: odd",
}


@pytest.mark.parametrize(
    ("hook", "statement"),
    [*((hook, s) for hook in HOOKS for s in ("{}['depth']", "raise SystemExit('odd')")),
     *(("BUILD", s) for s in RAISING),
     *(("VALUE", s) for s in RAISING)],
)  # fmt: skip
def test_whatever_a_part_raises_is_one_sentence_with_its_line(parts, checked, hook, statement):
    file, document = parts(**{hook: statement})
    with pytest.raises(UserError) as caught:
        checked(document)
    line = file.read_text().splitlines().index(f"        {statement}") + 1
    words = str(caught.value)
    assert f"{file}, line {line}, in " in words
    assert KINDS[hook] in words
    assert RAISING[statement] in words


def test_a_part_that_is_in_order_passes(parts, checked, recwarn):
    assert checked(parts()[1]) == 1
    assert not [warning for warning in recwarn if warning.category is Doubt]


@pytest.mark.parametrize("hook", ["BUILD", "LOSS", "VALUE"])
def test_train_tells_it_the_same_way(parts, tmp_path, hook):
    file, _ = parts(**{hook: "{}['depth']"})

    def load_and_train():
        config, data = load_config(tmp_path / "study.yaml", tmp_path)
        train(config, data, tmp_path / "out", LocalPaths(tmp_path, tmp_path))

    with pytest.raises(UserError, match=f"KeyError: 'depth' .*{file}, line"):
        load_and_train()


@pytest.mark.parametrize(
    "arguments", [["check", "study.yaml"], ["train", "study.yaml", "--out", "model"]]
)
def test_on_the_command_line_it_is_one_message_and_exit_code_2(
    parts, tmp_path, monkeypatch, command, arguments
):
    parts(VALUE="{}['depth']")
    monkeypatch.chdir(tmp_path)
    code, _, told = command(*arguments)
    assert code == 2
    assert "KeyError: 'depth'" in told


@pytest.mark.parametrize("hook", ["BUILD", "LOSS", "VALUE"])
@pytest.mark.parametrize(
    "kind", ["KeyboardInterrupt", "GeneratorExit", "type('Own', (BaseException,), {})"]
)
def test_what_is_no_exception_of_pythons_is_told_with_the_part(
    parts, tmp_path, monkeypatch, command, hook, kind
):
    file, _ = parts(**{hook: f"raise {kind}('odd')"})
    monkeypatch.chdir(tmp_path)
    code, _, told = command("check", "study.yaml")
    assert code == 2
    part = {"BUILD": "generator", "LOSS": "loss", "VALUE": "metric"}[hook]
    name = {"BUILD": "G", "LOSS": "L", "VALUE": "M"}[hook]
    assert f"the {part} '{file.stem}:{name}' raises " in told
    assert f": odd ({file}, line " in told


def test_a_part_is_blamed_and_none_that_it_descends_from(parts, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named_anew.py").write_text("from gansearch.losses.hinge import Hinge\n")
    parts()
    code, _, told = command("check", "study.yaml", "--set", "loss=named_anew:Hinge")
    assert code == 0, told
    file, _ = parts(LOSS="raise GeneratorExit('odd')")  # which is known of no configuration
    code, _, told = command("check", "study.yaml")
    assert code == 2
    assert f"the loss '{file.stem}:L' raises GeneratorExit: odd ({file}, line " in told


def test_ctrl_c_while_a_part_is_at_work_is_nobodys_fault(parts, tmp_path):
    parts(LOSS="print('here', flush=True); import time; time.sleep(60)")
    command = [sys.executable, "-m", "gansearch", "check", "study.yaml"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if "here" in line:
                break
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "raises" not in told


def test_a_bug_of_ours_is_not_blamed_on_anybody(parts, tmp_path, monkeypatch):
    config, data = load_config(parts()[0].with_name("study.yaml"), tmp_path)
    monkeypatch.setattr(measuring, "check_metric", None)  # calling it raises in our own file
    with pytest.raises(TypeError):
        prepare(config, data, LocalPaths(tmp_path, tmp_path))


def test_a_data_set_of_ones_own_that_raises_is_told_with_its_line(tmp_path, monkeypatch, checked):
    file = tmp_path / "own_data.py"
    file.write_text("def load(root, split, image_size):\n    return {}['images']\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput, match=f"KeyError: 'images' .*{file}, line 2, in load"):
        checked(parse_document("data: 'own_data:load'\n", "s.yaml"))


# What a metric gives


@pytest.mark.parametrize(
    "given",
    [
        0.5,
        np.float64(0.5),
        np.float32(0.5),
        np.array(0.5),
        torch.tensor(0.5),
        torch.tensor(0.5, requires_grad=True),
        torch.tensor(0.5, dtype=torch.bfloat16),
    ],
)
def test_a_number_of_any_kind_becomes_a_plain_float(given):
    value = value_of("m", given)
    assert type(value) is float
    assert value == 0.5


@pytest.mark.parametrize("given", [3, np.int64(3), torch.tensor(3)])
def test_so_does_an_integer(given):
    assert type(value_of("m", given)) is float


@pytest.mark.parametrize(
    "given", [math.inf, -math.inf, math.nan, np.float32("inf"), torch.tensor(math.inf), 10**400]
)
def test_what_is_not_finite_is_nan(given):
    assert math.isnan(value_of("m", given))


ODD = [
    ("None", "None"),
    ("'0.5'", "str: '0.5'"),
    ("[0.5]", r"list of 1: \[0.5\]"),
    ("(0.5,)", "tuple of 1"),
    ("{}", "dict of 0"),
    ("1 + 2j", "complex"),
    ("True", "bool: True"),
    ("np.True_", "bool"),
    ("np.array([0.5])", r"an array of shape \[1\], float64"),
    ("torch.tensor([0.5])", r"a tensor of shape \[1\], torch.float32"),
    ("torch.tensor(True)", r"a tensor of shape \[\], torch.bool"),
    ("torch.tensor(1j)", "a tensor of shape .., torch.complex64"),
]


@pytest.mark.parametrize(("given", "words"), ODD)
def test_anything_else_is_refused_at_check_with_the_metrics_name(parts, checked, given, words):
    _, document = parts(VALUE=f"return {given}")
    with pytest.raises(UserError, match=f"the metric 'parts_.*:M' gives {words}.* one number"):
        checked(document)


def test_statistics_may_be_whatever_becomes_a_tensor():
    found = statistics_of("m", {"a": 1.0, "b": np.ones(2), "c": torch.ones(3), "d": [1, 2]})
    assert [tensor.numel() for tensor in found.values()] == [1, 2, 3, 2]
    for wrong in (None, 3, {"a": None}, {"a": "text"}):
        with pytest.raises(MetricError, match="the metric 'm': of_real gives"):
            statistics_of("m", wrong)


def test_a_metric_that_lacks_something_is_told_at_check(tmp_path, monkeypatch, checked):
    (tmp_path / "lacking_metric.py").write_text(
        "class A:\n    features = None\n    goal = 'min'\n"
        "class B:\n    features, goal, compares_real = None, 'lower', True\n"
        "    def of_real(self, real): return {}\n"
        "    def __call__(self, fake, real): return 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "evaluation: {metrics: ['lacking_metric:A', 'lacking_metric:B']}\n"
    with pytest.raises(InvalidInput) as caught:
        checked(parse_document(text + "objective: {metric: d_loss, goal: min}\n", "s.yaml"))
    assert "has no compares_real, no of_real" in str(caught.value)
    assert "has the goal 'lower', not 'min' or 'max'" in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_activation_that_is_not_finite_makes_every_metric_nan(monkeypatch, value):
    asked = []

    class Precise:
        """A metric that would not notice."""

        features, goal, compares_real = "seen", "max", True

        def of_real(self, real):
            return {}

        def __call__(self, fake, real):
            asked.append(fake)
            return 0.999

    class Seeing:
        def __call__(self, images):
            features = torch.ones(len(images), 4)
            features[1, 2] = value
            return Activations(features, None)

    built = {"precise": Precise()}
    monkeypatch.setattr(measuring, "_build", lambda _: built)
    monkeypatch.setattr(measuring, "_extractors", lambda *_: {"seen": Seeing()})
    known = measuring.Reference((), (1, 2, 2), {}, {"precise": {}}, {})
    evaluator = measuring.Evaluator(known)
    assert math.isnan(evaluator.evaluate(torch.zeros(8, 1, 2, 2, dtype=torch.uint8))["precise"])
    assert not asked


# What a checkpoint keeps


def test_numpys_numbers_are_plain_in_a_checkpoint(tmp_path):
    layer = nn.BatchNorm1d(3)
    state = {
        "lr": np.float64(0.1),
        "nested": [{"n": np.int64(3), "a": np.arange(3)}, (np.bool_(True), 1)],
        "weights": layer.state_dict(),
        np.str_("key"): None,
    }
    checkpoint.save(tmp_path, 1, state)
    read = checkpoint.load(checkpoint.path_of(tmp_path, 1))
    assert type(read["lr"]) is float
    assert read["nested"][0]["n"] == 3
    assert torch.equal(read["nested"][0]["a"], torch.arange(3))
    assert read["nested"][1] == (True, 1)
    assert read["weights"]._metadata == state["weights"]._metadata
    assert checkpoint.plain(layer.state_dict())._metadata
    same = {"a": [1, torch.ones(2)]}
    assert checkpoint.plain(same) is same


def test_what_could_not_be_read_again_is_refused_with_its_place(tmp_path):
    with pytest.raises(UserError, match=r"holds a pathlib\..*Path at generator.extra\[1\]"):
        checkpoint.save(tmp_path, 1, {"generator": {"extra": [1, Path()]}})
    assert not list(tmp_path.iterdir())


def test_a_module_whose_state_cannot_be_kept_is_told_at_check(parts, checked):
    statement = "type(self).get_extra_state = lambda self: object(); " + (
        "type(self).set_extra_state = lambda self, state: None"
    )
    with pytest.raises(UserError, match=r"holds a builtins.object at generator._extra_state"):
        checked(parts(BUILD=statement)[1])


def test_an_axis_value_of_numpys_trains_and_is_read_again(tiny, digits, places, tmp_path):
    config = tiny(evaluation={"samples": 50, "metrics": [{"name": "diversity"}]},
                  objective={"metric": "diversity", "goal": "max"})  # fmt: skip
    sides = config.optimizer
    side = sides.generator.model_copy(update={"lr": np.float64(1e-3)})
    odd = config.model_copy(update={"optimizer": sides.model_copy(update={"generator": side})})
    trainer = Trainer(odd, digits, prepare(config, digits, places))
    report = trainer.advance()
    checkpoint.save(tmp_path, report.step, trainer.state())
    assert checkpoint.load(checkpoint.path_of(tmp_path, report.step))["step"] == report.step


# What networks and losses give

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (torch.ones(4, 1), r"logits of shape \[4, 1\]; \[B\] = \[4\] is wanted: end it with .flatten"),
        (torch.tensor(1.0), r"shape \[\]"),
        (torch.ones(3), r"shape \[3\]"),
        ((torch.ones(4), None), "gives tuple of 2"),
        (None, "None; one tensor"),
        (np.ones(4), "an array"),
        (torch.ones(4, dtype=torch.float64), "type torch.float64; torch.float32 is wanted"),
        (torch.ones(4, dtype=torch.float16), "type torch.float16"),
        (torch.ones(4, device="meta"), "on meta; cpu is wanted"),
    ],
)
def test_logits_are_what_is_wanted_or_told(output, words):
    with pytest.raises(OutputError, match=f"^it .*{words}"):
        check_output(output, "it", (4,), "float32", CPU)
    check_output(torch.ones(4), "it", (4,), "float32", CPU)
    check_output(torch.ones(4, dtype=torch.bfloat16), "it", (4,), "bfloat16", CPU)


def test_so_are_images():
    with pytest.raises(OutputError, match=r"\[B, C, H, W\] = \[4, 1, 8, 8\] is wanted: .* .view"):
        check_output(torch.ones(4, 64), "it", (4, 1, 8, 8), "float32", CPU)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ({"JUDGE": "return logits"}, r"discriminator '.*:D' gives logits of shape \[\d+, 1\]"),
        ({"JUDGE": "return logits.mean()"}, r"logits of shape \[\]"),
        ({"RUN": "return images.flatten(1)"}, r"generator '.*:G' gives images of shape \[\d+, 64\]"),
        ({"RUN": "return images, None"}, "gives tuple of 2"),
        ({"RUN": "return images.double()"}, "type torch.float64"),
        (
            {"LOSS": "return real - fake"},
            r"d gives a tensor of shape \[4\].*the mean over",
        ),
        ({"LOSS": "return 1.0"}, "d gives float: 1.0"),
    ],
)
def test_check_and_train_tell_it(parts, checked, tmp_path, statements, words):
    _, document = parts(**statements)
    with pytest.raises(UserError, match=words):
        checked(document)


def test_train_refuses_a_wrong_shape_at_its_first_step(parts, tmp_path):
    parts(JUDGE="return logits")
    config, data = load_config(tmp_path / "study.yaml", tmp_path)
    with pytest.raises(UserError, match=r"logits of shape \[16, 1\]; \[B\] = \[16\] is wanted"):
        train(config, data, tmp_path / "out", LocalPaths(tmp_path, tmp_path))


def test_only_the_first_output_is_looked_at(tiny, digits, places):
    config = tiny()
    trainer = Trainer(config, digits, prepare(config, digits, places))
    assert trainer.generator._forward_hooks
    trainer.advance()
    assert not trainer.generator._forward_hooks
    assert not trainer.discriminator._forward_hooks
    assert not trainer.averaged._forward_hooks


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("return images.sigmoid()", "never go below 0 .*sigmoid"),
        ("return images.relu()", r"leave \[-1, 1\]"),
        ("return images", r"leave \[-1, 1\]"),
        ("return images.tanh() / 2", None),
        ("return images.clamp(-1, 1)", None),
    ],
)
def test_images_of_another_range_are_warned_of(parts, checked, statement, words):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert checked(parts(RUN=statement)[1]) == 1
    told = [str(warning.message) for warning in caught if warning.category is Doubt]
    if words is None:
        assert not told
    else:
        with pytest.warns(Doubt, match=words):
            warnings.warn(told[0], Doubt, stacklevel=1)


@pytest.mark.parametrize(
    "statement",
    [
        "self.layer.weight.data.copy_(torch.from_numpy(np.ones(self.layer.weight.shape) / "
        "self.layer.weight.mean().item()))",
        "self.layer.weight.data /= float(self.layer.weight.abs().max())",
        "self.scale = self.layer.weight.detach().numpy().std()",
    ],
)
def test_a_network_that_looks_at_its_weights_is_built_for_real(parts, checked, statement):
    assert checked(parts(BUILD=statement)[1]) == 1


# What a run would refuse


@pytest.mark.parametrize("count", [3, 20, 31])
def test_few_images_are_checked_as_they_are_trained(tmp_path, monkeypatch, checked, count):
    (tmp_path / "few_images.py").write_text(
        "import numpy as np\nfrom gansearch.data.images import ImageData\n"
        "def load(root, split, image_size, *, count: int):\n"
        "    images = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)\n"
        "    return ImageData('few', split, images, None, 0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        f"data: {{name: 'few_images:load', count: {count}}}\n"
        "generator: mlp\ndiscriminator: mlp\nbatch_size: 4\n"
        "evaluation: {samples: 50, metrics: [diversity]}\nobjective: {metric: diversity}\n"
    )
    assert checked(parse_document(text, "s.yaml")) == 1
    too_many = text.replace("samples: 50", f"samples: 50, real_samples: {count + 1}")
    with pytest.raises(UserError) as told:
        checked(parse_document(too_many, "s.yaml"))
    words = (
        f"evaluation.real_samples: {count + 1} are asked for, and the train split of few has {count}"
    )
    assert words in str(told.value)
    spec, data = read_study(parse_document(too_many, "s.yaml"), tmp_path)
    with pytest.raises(UserError) as refused:
        prepare(spec.example(), data, LocalPaths(tmp_path, tmp_path))
    assert str(refused.value) == str(told.value), "the same words"


@pytest.mark.parametrize("wrong", ["raise DataError('test images are corrupt')", "images = images[:0]"])
def test_a_test_split_that_cannot_be_used_is_told_at_check(tmp_path, monkeypatch, checked, wrong):
    name = f"half_data_{len(wrong)}"
    (tmp_path / f"{name}.py").write_text(
        "import numpy as np\nfrom gansearch.data.images import ImageData\n"
        "from gansearch.errors import DataError\n"
        "def load(root, split, image_size):\n"
        "    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8)\n"
        f"    if split == 'test':\n        {wrong}\n"
        "    return ImageData('half', split, images, None, 0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        f"data: '{name}:load'\ngenerator: mlp\ndiscriminator: mlp\nbatch_size: 4\n"
        "evaluation: {samples: 50, metrics: [diversity], split: test}\nobjective: {metric: diversity}\n"
    )
    with pytest.raises(UserError, match=r"corrupt|there are no images"):
        checked(parse_document(text, "s.yaml"))
    assert checked(parse_document(text.replace(", split: test", ""), "s.yaml")) == 1


def test_images_that_are_too_few_for_a_metric_are_no_traceback(tiny, tmp_path):
    one = ImageData("one", "train", np.zeros((1, 1, 8, 8), np.uint8), np.zeros(1, np.int64), 2)
    config = tiny(evaluation={"samples": 50, "metrics": [{"name": "diversity"}]},
                  objective={"metric": "diversity", "goal": "max"})  # fmt: skip
    with pytest.raises(UserError, match="the metric 'diversity' cannot use these images"):
        prepare(config, one, LocalPaths(tmp_path, tmp_path))


# Scores of few samples


@pytest.mark.parametrize(
    ("metric", "samples", "words"),
    [
        ("inception_score", 10, "leave inception_score 1 a split, of which a score is always 1"),
        ("is_classifier", 50, "5 a split, .* 5 at most.*: ask for samples: 300 or more, or splits: 1"),
        ("is_classifier", 299, "29 a split, .*samples: 300 or more, or splits: 9"),
        ("is_classifier", 300, None),
        ("{name: is_classifier, splits: 1}", 30, None),
        ("{name: is_classifier, splits: 1}", 20, "samples: 30 or more$"),
        ("fd_classifier", 50, None),
        ("fd_classifier", 20, None),  # a distance, which its samples do not bound
    ],
)
def test_a_score_of_few_samples_a_split_is_warned_of(tmp_path, metric, samples, words):
    (tmp_path / "c.yaml").write_text(
        f"evaluation: {{samples: {samples}, metrics: [{metric}]}}\n"
        "objective: {metric: d_loss, goal: min}\n"
    )
    config, _ = load_config(tmp_path / "c.yaml", tmp_path)
    told = reservations(config)
    assert len(told) == (words is not None)
    if words is not None:
        with pytest.warns(Doubt, match=words):
            warnings.warn(told[0], Doubt, stacklevel=1)


def test_check_warns_of_it(checked):
    text = "evaluation: {samples: 50, metrics: [is_classifier]}\nobjective: {metric: is_classifier}\n"
    text += "generator: {name: mlp, depth: 1}\ndiscriminator: {name: mlp, depth: 1}\n"
    with pytest.warns(Doubt, match="is_classifier 5 a split"):
        assert checked(parse_document(text, "s.yaml")) == 1


# What stands in a part's place and is none


OWN = """
import torch
from torch import nn

def number(*given):
    return 3

class Loss:
    def g(self, real, fake):
        return fake.mean(-1)

class Uncalled:
    pass

class Without(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.layer = nn.Linear(1, 1)

class Empty(nn.Module):
    def forward(self, x):
        return x
    def __init__(self, *shape):
        super().__init__()

class Lazy(Empty):
    def __init__(self, *shape):
        super().__init__()
        self.layer = nn.LazyLinear(1)

def closing(parameters):
    return torch.optim.LBFGS(parameters)

def elsewhere(parameters):
    return torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)

class Unreduced:
    def __call__(self, critic, real, fake):
        return critic(real)

class Few:
    def __call__(self, critic, real):
        return critic(real).mean(-1)
"""


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("generator: 'OWN:number'", "generator: 'OWN:number' gives int, not a torch.nn.Module"),
        ("discriminator: 'OWN:number'", "discriminator: 'OWN:number' gives int, not a torch.nn.Module"),
        (
            "optimizer: {generator: 'OWN:number'}",
            "the optimizer 'OWN:number' gives int, not a torch.opt",
        ),
        ("loss: 'OWN:Loss'", "the loss 'OWN:Loss' has no d, decision, g_uses_real"),
        ("loss: {name: hinge, penalty: 'OWN:Uncalled'}", "the penalty 'OWN:Uncalled' has no __call__"),
        (
            "loss: {name: hinge, penalty: 'OWN:Unreduced'}",
            "the penalty 'OWN:Unreduced' gives a tensor of shape [16]",
        ),
        ("loss: {name: hinge, penalty: 'OWN:Few'}", "penalty 'OWN:Few': TypeError"),
        ("generator: 'OWN:Without'", "generator: 'OWN:Without' has no forward"),
        ("generator: 'OWN:Empty'", "generator: 'OWN:Empty' has no parameters"),
        ("generator: 'OWN:Lazy'", "generator: 'OWN:Lazy' has lazy layers"),
        ("discriminator: 'OWN:Empty'", "discriminator: 'OWN:Empty' has no parameters"),
        (
            "optimizer: {generator: 'OWN:elsewhere'}",
            "the optimizer 'OWN:elsewhere' holds none of the parameters",
        ),
        (
            "optimizer: {generator: 'OWN:closing'}",
            "optimizer 'OWN:closing' takes a step by a closure",
        ),
    ],
)
def test_what_is_no_part_of_its_kind_is_told_at_check(tmp_path, monkeypatch, checked, section, words):
    name = module_of(tmp_path, monkeypatch, OWN)
    base = ["generator: mlp", "discriminator: mlp", "batch_size: 16", "objective: {metric: fd_raw}"]
    kept = [line for line in base if line.partition(":")[0] != section.partition(":")[0]]
    text = "\n".join(["data: digits", "evaluation: {samples: 32, metrics: [fd_raw]}", *kept, section])
    with pytest.raises(UserError) as caught:
        checked(parse_document(text.replace("OWN", name), "s.yaml"))
    assert words.replace("OWN", name) in str(caught.value)


# What a loss and a network are to say and to give, so that something is learnt

LOSS = """
import torch
from torch.nn.functional import softplus

class L:
    g_uses_real, decision = False, 0.0
    def d(self, real, fake):
        return softplus(-real).mean(-1) + softplus(fake).mean(-1)
    def g(self, real, fake):
        return softplus(-fake).mean(-1)
"""
NO_GRADIENT = "gives a number through which no gradient reaches"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("decision = '0'", "decision is '0'"),
        ("decision = float('nan')", "decision is nan"),
        ("decision = True", "decision is True"),
        ("decision = torch.zeros(())", "decision is tensor(0.)"),
        ("g_uses_real = 'no'", "g_uses_real is 'no'"),
        ("g = None", "g cannot be called"),
        ("d = lambda s, r, f: r.mean(-1) * float('nan')", "d gives nan for logits from -1 to 1"),
        ("g = lambda s, r, f: f.mean(-1) / 0", "g gives "),
        ("d = lambda s, r, f: r.mean(-1).int()", "d gives a tensor of shape [], torch.int32"),
        ("g = lambda s, r, f: f.mean(-1) * 1j", "g gives a tensor of shape [], torch.complex64"),
        ("d = lambda s, r, f: r.mean(-1).detach()", f"d {NO_GRADIENT} the logits"),
        ("g = lambda s, r, f: f.mean(-1).detach()", f"g {NO_GRADIENT} the fake logits"),
        ("g = lambda s, r, f: torch.tensor(1.0)", f"g {NO_GRADIENT} the fake logits"),
        ("g_uses_real = True; g = lambda s, r, f: r.mean(-1)", f"g {NO_GRADIENT} the fake logits"),
    ],
)
def test_a_loss_by_which_nothing_is_learnt_is_told_at_check(
    tmp_path, monkeypatch, checked, line, words
):
    with pytest.raises(UserError) as caught:
        checked(_with_loss(tmp_path, monkeypatch, line))
    assert "the loss 'own_" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "line", ["decision = None", "import numpy; decision = numpy.float32(0.5)", "g_uses_real = True"]
)
def test_one_by_which_something_is_learnt_passes(tmp_path, monkeypatch, checked, line):
    assert checked(_with_loss(tmp_path, monkeypatch, line)) == 1


def _with_loss(folder, monkeypatch, line):
    name = module_of(folder, monkeypatch, f"{LOSS}    {line}\n")
    text = (
        "data: digits\nevaluation: {samples: 32, metrics: [fd_raw]}\ngenerator: mlp\n"
        f"discriminator: mlp\nbatch_size: 16\nobjective: {{metric: fd_raw}}\nloss: '{name}:L'\n"
    )
    return parse_document(text, "s.yaml")


@pytest.mark.parametrize(
    ("hook", "statement"),
    [
        ("RUN", "images = images.detach()"),
        ("RUN", "torch.set_grad_enabled(False); images = images + 0"),
        ("JUDGE", "logits = logits.detach()"),
    ],
)
def test_a_network_through_which_nothing_is_learnt_is_told_at_check(parts, checked, hook, statement):
    _, document = parts(**{hook: statement})
    kind = KINDS[hook]
    with pytest.raises(UserError, match=f"the {kind} '.*' gives numbers through which no gradient"):
        checked(document)


@pytest.mark.parametrize(
    ("hook", "statement"),
    [
        ("RUN", "images = images * float('nan')"),
        ("JUDGE", "logits = logits * float('inf')"),
        ("JUDGE", "logits.register_hook(lambda slope: slope * float('nan'))"),
    ],
)
def test_a_training_that_ends_as_it_begins_is_warned_of(parts, checked, hook, statement):
    with pytest.warns(Doubt, match="no finite numbers are in .* after one step, with generator"):
        checked(parts(**{hook: statement})[1])


CALLS = ["set_default_dtype(torch.float64)", "set_grad_enabled(False)", "set_default_device('meta')"]


@pytest.mark.parametrize(
    ("hook", "call"),
    [
        *((hook, call) for hook in ("JUDGE", "LOSS") for call in CALLS),
        *((hook, CALLS[0]) for hook in ("BUILD", "RUN")),
    ],
)
def test_a_part_that_changes_torchs_settings_is_told_and_they_are_put_back(parts, checked, hook, call):
    _, document = parts(**{hook: f"torch.{call}"})
    try:
        with pytest.raises(UserError, match=r"has called torch\." + call.partition("(")[0]):
            checked(document)
        assert settings.changed() == []
    finally:
        settings.put_back()


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("BUILD", "line 3, generator: '.*:G', as it is made, has called"),
        ("MAKE", "line 7, evaluation.metrics.0.: the metric '.*:M', as it is made, has called"),
    ],
)
def test_one_that_does_so_as_it_is_made_is_named_at_its_place(parts, checked, hook, words):
    _, document = parts(**{hook: "torch.set_default_dtype(torch.float64)"})
    try:
        with pytest.raises(InvalidInput, match=words):
            checked(document)
        assert settings.changed() == []
    finally:
        settings.put_back()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["data", "generator", "loss", "penalty", "metrics", "sampler"])
def test_a_module_that_does_so_when_it_is_imported_is_named(tmp_path, monkeypatch, checked, kind, call):
    name = module_of(tmp_path, monkeypatch, f"import torch\ntorch.{call}\n")
    part = f"'{name}:Thing'"
    lines = {
        "data": f"data: {part}",
        "generator": f"generator: {part}",
        "loss": f"loss: {part}",
        "penalty": f"loss: {{name: hinge, penalty: {part}}}",
        "metrics": f"evaluation: {{metrics: [{part}]}}",
        "sampler": f"search: {{sampler: {part}}}",
    }
    try:
        for _ in range(2):  # a module is imported once, and told of each time
            with pytest.raises(InvalidInput, match=rf"line 1, {kind}|line 1, .*{kind}") as caught:
                checked(parse_document(lines[kind], "s.yaml"))
            assert f"the module '{name}', imported, has called torch.{call.partition('(')[0]}" in str(
                caught.value
            )
            assert settings.changed() == []
    finally:
        settings.put_back()


SAMPLER = """
import torch
class S:
    draws = history = swayed = None
    def __init__(self, seed, conditional):
        torch.CALL
        LAST
"""


@pytest.mark.parametrize("last", ["pass", "raise OSError('odd')"])
@pytest.mark.parametrize("call", CALLS)
def test_a_sampler_that_does_so_as_it_is_made_is_named(tmp_path, monkeypatch, call, last):
    source = SAMPLER.replace("CALL", call).replace("LAST", last)
    name = module_of(tmp_path, monkeypatch, source)
    (tmp_path / "s.yaml").write_text(f"data: digits\nsearch: {{sampler: '{name}:S'}}\n")
    try:
        with pytest.raises(UserError) as caught:
            gansearch.check(tmp_path / "s.yaml")
        called = f"the sampler '{name}:S' has called torch.{call.partition('(')[0]}"
        assert str(caught.value).splitlines()[0].startswith(called)
        assert "something that was imported" not in str(caught.value)
        assert settings.changed() == []
    finally:
        settings.put_back()


@pytest.mark.parametrize(
    ("hook", "statement", "whose"),
    [
        ("RUN", "latents.mul_(2)", "the generator"),
        ("JUDGE", "images.clamp_(-1, 1)", "the discriminator"),
        ("LOSS", "real.sub_(fake)", "the loss"),
    ],
)
def test_a_part_that_changes_what_it_is_given_is_told(parts, checked, hook, statement, whose):
    _, document = parts(**{hook: statement})
    with pytest.raises(UserError, match=f"{whose} '.*' changes in place what it is given"):
        checked(document)


@pytest.mark.parametrize(
    "statement", ["raise MemoryError", "torch.empty(2**60)", "raise torch.OutOfMemoryError('CUDA')"]
)
def test_a_step_that_memory_does_not_hold_is_told_in_words(parts, checked, statement):
    with pytest.raises(UserError, match=r"^memory does not hold a step with .*, batch_size 16$"):
        checked(parts(RUN=statement)[1])


@pytest.mark.parametrize(
    "line",
    [
        "batch_size: 1048577",
        "latent_size: 1048577",
        "discriminator_steps: 1001",
        "evaluation: {samples: 10000001}",
        "evaluation: {final: {samples: 10000001}}",
    ],
)
def test_what_no_machine_can_do_is_refused_before_anything_is_made(checked, line):
    with pytest.raises(InvalidInput, match=r"line 1, [\w.]+: must be at most "):
        checked(parse_document(line, "s.yaml"))


@pytest.mark.parametrize(
    ("hook", "statement"), [("REAL", "real.features.mul_(2)"), ("VALUE", "fake.features.add_(1)")]
)
def test_a_metric_that_does_so_is_warned_of(parts, checked, hook, statement):
    with pytest.warns(Doubt, match="the metric '.*:M' changes in place what it is given"):
        checked(parts(**{hook: statement})[1])


PENALTY = """
import torch
class P:
    def __call__(self, critic, real, fake):
        BODY
"""


def _with_penalty(penalty):
    return parse_document(
        "data: digits\nevaluation: {samples: 32, metrics: [fd_raw]}\ngenerator: mlp\n"
        "discriminator: {name: mlp, norm: none}\nbatch_size: 16\nobjective: {metric: fd_raw}\n"
        f"loss: {{name: hinge, penalty: {penalty}}}\n",
        "s.yaml",
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return critic(real).detach().square().mean(-1)", "no gradient reaches the discriminator's"),
        ("return critic(real).square().mean(-1).item()", "no gradient reaches"),
        ("return 0.5", "no gradient reaches"),
        (
            "x = real.detach().requires_grad_(); return torch.autograd.grad("
            "critic(x).sum(), x)[0].square().mean()",
            "no gradient reaches",
        ),
        ("return critic(real.mul_(2)).mean(-1)", "the penalty '.*:P' changes in place"),
        ("return critic(real).square().mean(-1)", None),
        ("return 0.0", None),
        ("return torch.zeros(())", None),
    ],
)
def test_a_penalty_by_which_nothing_is_learnt_is_told_at_check(
    tmp_path, monkeypatch, checked, body, words
):
    name = module_of(tmp_path, monkeypatch, PENALTY.replace("BODY", body))
    document = _with_penalty(f"'{name}:P'")
    if words is None:
        assert checked(document) == 1
    else:
        with pytest.raises(UserError, match=words):
            checked(document)


def test_a_training_does_not_go_on_beside_such_a_penalty(tmp_path, monkeypatch):
    """Which was not checked: it would be one without a penalty."""
    name = module_of(
        tmp_path, monkeypatch, PENALTY.replace("BODY", "return critic(real).mean().detach()")
    )
    spec, data = read_study(_with_penalty(f"'{name}:P'"), tmp_path)
    config = spec.example()
    trainer = Trainer(config, data, prepare(config, data, LocalPaths(tmp_path, tmp_path)))
    with pytest.raises(UserError, match="no gradient reaches the discriminator's weights"):
        trainer.advance()


@pytest.mark.parametrize("penalty", [name for name in PENALTIES.names if name != "none"])
def test_the_penalties_there_are_pass(checked, penalty):
    assert checked(_with_penalty(penalty)) == 1


MEASURE = """
import torch

class M:
    features, goal, compares_real = None, "min", True
    def of_real(self, real):
        return {"mean": real.features.float().mean(0)}
    def __call__(self, fake, real):
        return 1.0
"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("features = 3", "features is 3, not an extractor's name, or None"),
        ("features = 'nothing'", "unknown feature extractor 'nothing'"),
        ("compares_real = 'no'", "compares_real is 'no', not True or False"),
        ("least_samples = 'many'", "least_samples is 'many', not an integer above 0"),
        ("least_samples = 0", "least_samples is 0, not an integer above 0"),
        ("family = 'all'", "its family has no of_real, no values"),
        ("__call__ = lambda self, fake: 1.0", "cannot be asked as __call__(fake, real): too many"),
        ("of_real = lambda self: {}", "cannot be asked as of_real(real): too many"),
        ("of_real = lambda self, real: {'a': torch.eye(3).to_sparse()}", "a sparse tensor as 'a'"),
    ],
)
def test_a_metric_that_cannot_be_asked_is_told_at_check(tmp_path, monkeypatch, checked, line, words):
    name = module_of(tmp_path, monkeypatch, f"{MEASURE}    {line}\n")
    text = (
        "data: digits\ngenerator: mlp\ndiscriminator: mlp\nbatch_size: 16\n"
        f"evaluation: {{samples: 32, metrics: [fd_raw, '{name}:M']}}\nobjective: {{metric: fd_raw}}\n"
    )
    with pytest.raises(UserError) as caught:
        checked(parse_document(text, "s.yaml"))
    assert f"the metric '{name}:M'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pass", "has no __call__(images, *, draws)"),
        ("__call__ = lambda s, x, draws: None", "gives None; a tensor of shape [4, 1, 8, 8]"),
        ("__call__ = lambda s, x, draws: x[:, :, :4]", "gives a tensor of shape [4, 1, 4, 8]"),
        ("__call__ = lambda s, x, draws: x.double()", "torch.float64; a tensor of shape [4, 1, 8, 8]"),
        ("__call__ = lambda s, x, draws: x.detach()", "no gradient reaches the generator"),
        ("__call__ = lambda s, x, draws: x * 0.5", ""),
    ],
)
def test_an_augmentation_that_gives_something_else_is_told_at_check(
    tmp_path, monkeypatch, checked, line, words
):
    name = module_of(tmp_path, monkeypatch, f"class A:\n    {line}\n")
    document = parse_document(
        "data: digits\nevaluation: {samples: 32, metrics: [fd_raw]}\ngenerator: mlp\nbatch_size: 16\n"
        f"objective: {{metric: fd_raw}}\ndiscriminator: {{name: mlp, augment: '{name}:A'}}\n",
        "s.yaml",
    )
    if not words:
        assert checked(document) == 1
        return
    with pytest.raises(UserError) as caught:
        checked(document)
    assert f"the augmentation '{name}:A'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "doubted"),
    [
        ("(0.9 * x).clamp(0, 1)", True),
        ("(x + 0.4 * (draws.rand_like(x[:, :1, :1, :1]) - 0.5)).clamp(0, 1)", True),
        ("(1.2 * x).clamp(-1, 1)", False),
        ("x * (draws.rand_like(x) > 0.7)", False),
        ("x * (draws.rand_like(x[:, :1, :1, :1]) > 0.7)", False),
    ],
)
def test_an_augmentation_that_hides_what_is_dark_is_warned_of(
    tmp_path, monkeypatch, checked, change, doubted
):
    body = f"class A:\n    __call__ = lambda s, x, *, draws: {change}\n"
    name = module_of(tmp_path, monkeypatch, body)
    document = parse_document(
        "data: digits\nevaluation: {samples: 32, metrics: [fd_raw]}\ngenerator: mlp\nbatch_size: 16\n"
        f"objective: {{metric: fd_raw}}\ndiscriminator: {{name: mlp, augment: '{name}:A'}}\n",
        "s.yaml",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert checked(document) == 1
    told = [str(warning.message) for warning in caught if warning.category is Doubt]
    hidden = [text for text in told if f"the augmentation '{name}:A' gives no gradient" in text]
    assert len(hidden) == doubted == len(told)


FORGETFUL = {
    "counts in 'calls', which no checkpoint or export holds: keep what it must remember in buffers": {
        "BUILD": "self.calls = 0",
        "RUN": "self.calls += self.training",
    },
    "has a state that no checkpoint or export holds: keep what it must remember in buffers": {
        "BUILD": "self.strengths = torch.rand(shape)",
        "RUN": "images = images * self.strengths",
    },
    "has a state that no checkpoint or export holds": {  # which only evaluation shows
        "BUILD": "self.strengths = torch.rand(shape)",
        "RUN": "images = images if self.training else images * self.strengths",
    },
    None: {
        "BUILD": "self.register_buffer('strengths', torch.rand(shape))",
        "RUN": "self.last, images = images, images * self.strengths * (0.5 + torch.rand(()))",
    },
}


@pytest.mark.parametrize("words", FORGETFUL)
def test_what_a_network_remembers_where_no_checkpoint_finds_it_is_warned_of(parts, checked, words):
    file, document = parts(**FORGETFUL[words])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checked(document)
    told = [str(warning.message) for warning in caught if warning.category is Doubt]
    assert told == ([] if words is None else [told[0]])
    if words:
        assert told[0].startswith(f"the generator '{file.stem}:G' {words}")


def test_so_is_a_loss_that_remembers(parts, checked):
    file, document = parts(LOSS="self.seen = fake = fake - getattr(self, 'seen', 0 * fake).detach()")
    told = f"the loss '{file.stem}:L' remembers something from one call to the next"
    with pytest.warns(Doubt, match=told):
        checked(document)


def test_buffers_that_change_their_size_are_refused(parts, checked):
    file, document = parts(
        BUILD="self.register_buffer('bank', torch.zeros(0, 4))",
        RUN="self.bank = torch.cat([self.bank, torch.ones(1, 4)])",
    )
    with pytest.raises(UserError) as caught:
        checked(document)
    told = "cannot go on from what it has saved: size mismatch for bank"
    assert f"the generator '{file.stem}:G' {told}" in str(caught.value)


def test_a_generator_that_cannot_be_copied_is_named(parts, checked):
    file, document = parts(BUILD="self.log = open(__file__); self.log.close()")
    with pytest.raises(UserError) as caught:
        checked(document)
    assert f"the generator '{file.stem}:G' cannot be copied, as for its average" in str(caught.value)
    assert "keep open files, locks" in str(caught.value)
