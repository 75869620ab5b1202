"""A network that starts from an export: all of its weights or none, and layers that stay."""

from __future__ import annotations

import functools
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import gansearch
from gansearch.data.domain import Images
from gansearch.errors import InvalidInput, StorageError, UserError
from gansearch.search.start import Known
from gansearch.study.config import TrialConfig
from gansearch.study.document import parse_document, write_document
from gansearch.training.completion import complete
from gansearch.training.export_folder import read_model, write_model
from gansearch.training.pack import SequentialPack, Start
from gansearch.training.stacked.choice import _glance
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.trainer import Trainer
from gansearch.training.transfer import start_from, starts
from gansearch.training.validation import load_config, load_study, read_study

BARE = {"name": "mlp", "depth": 2, "width": 16, "norm": "none"}


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer


@pytest.fixture
def export(trainer, tmp_path):
    """A folder of an export, and the trainer that it is of."""
    made = run_out(trainer(generator=BARE, discriminator=BARE, seed=5))
    folder = write_model(tmp_path / "export", made.state(), made.reports, {})
    return folder, made


def test_both_networks_start_from_an_export(trainer, export):
    folder, made = export
    begun = trainer(
        generator=BARE | {"weights": str(folder)}, discriminator=BARE | {"weights": str(folder)}
    )
    for key, value in made.averaged.state_dict().items():
        assert torch.equal(begun.generator.state_dict()[key], value), key
        assert torch.equal(begun.averaged.state_dict()[key], value), key
    for key, value in made.discriminator.state_dict().items():
        assert torch.equal(begun.discriminator.state_dict()[key], value), key
    alone = trainer(
        generator=BARE | {"weights": str(folder / "generator.safetensors")}, discriminator=BARE
    )
    assert torch.equal(alone.generator.layers[0].weight, made.averaged.layers[0].weight)


def test_a_training_from_an_export_goes_on_exactly(trainer, export):
    sections = {"generator": BARE | {"weights": str(export[0])}, "discriminator": BARE}
    whole, begun, rest = (trainer(**sections) for _ in range(3))
    run_out(whole), begun.advance()
    rest.load(begun.state())
    run_out(rest)
    for key, value in whole.generator.state_dict().items():
        assert torch.equal(rest.generator.state_dict()[key], value)


def test_a_model_needs_nothing_of_the_export_that_it_began_with(trainer, export, tmp_path):
    made = run_out(trainer(generator=BARE | {"weights": str(export[0])}, discriminator=BARE))
    shutil.rmtree(export[0])
    folder = write_model(tmp_path / "later", made.state(), made.reports, {})
    assert (folder / "samples.png").is_file()
    model = read_model(folder)
    assert model.config.generator.weights == str(export[0]), "where it began stays written"
    for key, value in made.averaged.state_dict().items():
        assert torch.equal(model.generator.state_dict()[key], value)


@pytest.mark.parametrize("kind", [SequentialPack, FusedPack])
def test_what_has_a_checkpoint_goes_on_without_the_export_and_nothing_else_begins(
    kind, tiny, digits, reference, export
):
    """In whatever pack; one that is to begin is no failure of its configuration."""
    weights = {"weights": str(export[0])}
    config = tiny(generator=BARE | weights, discriminator=BARE | weights)
    make = functools.partial(Trainer, data=digits, reference=reference)
    whole, begun = make(config), make(config)
    run_out(whole), begun.advance()
    pack, told = kind(make), []
    shutil.rmtree(export[0])
    pack.begin([Start(0, config, 5, begun.state)])
    while not told or told[-1].outcome is None:
        told += [report for _, report in pack.advance()]
    assert [report.step for report in told] == [10, 15, 20]
    for growth in ("d_weight_growth", "g_weight_growth"):  # since the export's, not since new ones
        expected = [report.metrics[growth] for report in whole.reports[1:]]
        assert [report.metrics[growth] for report in told] == pytest.approx(expected)
    for key, value in whole.generator.state_dict().items():
        assert torch.equal(pack.trainer(0).generator.state_dict()[key], value)
    assert pack.trainer(0).config == config
    pack.stop([0])
    pack.begin([Start(1, config)])
    with pytest.raises(StorageError, match=r"weights: .*export cannot be read: No such file"):
        pack.advance()


@pytest.mark.parametrize("lane", [False, True])
def test_a_checkpoint_that_cannot_be_read_for_now_is_no_failure_of_the_configuration(
    lane, tiny, digits, reference
):
    def refused():
        raise StorageError("the disk is away")

    pack = (FusedPack if lane else SequentialPack)(lambda config: Trainer(config, digits, reference))
    pack.begin([Start(number, tiny(seed=number), latest=refused) for number in range(2)])
    with pytest.raises(StorageError, match="the disk is away"):
        pack.advance()


def test_measuring_lanes_needs_no_export(tiny, digits, reference, export):
    config = tiny(generator=BARE | {"weights": str(export[0])}, discriminator=BARE)
    shutil.rmtree(export[0])
    assert 0 < _glance(config, digits, reference, "cpu") < math.inf


class Stopped(Exception):
    pass


def test_train_goes_on_without_the_export_that_it_began_with(export, tmp_path):
    weights = {"weights": str(export[0])}
    tree = {"generator": BARE | weights, "discriminator": BARE | weights, "data": {"name": "digits"}}
    tree |= {"latent_size": 8, "batch_size": 16, "budget": {"steps": 20, "report_every": 5}}
    tree |= {"evaluation": {"samples": 50, "metrics": ["diversity"]}}
    tree |= {"objective": {"metric": "diversity", "goal": "max"}}
    file = tmp_path / "c.yaml"
    file.write_text(write_document(tree))

    def stop(report):
        raise Stopped

    told = []

    def note(line):
        told.append(line.partition(str(export[0]))[0])

    with pytest.raises(Stopped):
        gansearch.train(file, tmp_path / "model", on_begin=note, on_report=stop)
    shutil.rmtree(export[0])
    with pytest.raises(InvalidInput, match=r"generator: weights: .* cannot be read"):
        gansearch.train(file, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    curve = gansearch.train(file, tmp_path / "model", on_begin=told.append)
    assert told == ["the generator starts from ", "the discriminator starts from "], "once, at first"
    assert list(curve["step"]) == [5, 10, 15, 20]
    assert list(curve)[:5] == ["step", "images", "seconds", "outcome", "reason"]
    for left in (tmp_path / "model" / "checkpoints").iterdir():
        left.write_bytes(b"")
    with pytest.raises(UserError, match=r"weights: .* cannot be read"):
        gansearch.train(file, tmp_path / "model")


def test_what_was_loaded_is_told(export, tmp_path):
    begun = {"weights": str(export[0])}
    configs = [
        TrialConfig.model_validate({"generator": BARE | begun, "discriminator": BARE}),
        TrialConfig.model_validate(
            {
                "generator": BARE | begun | {"freeze": ["layers.0"]},
                "discriminator": BARE | begun | {"freeze": ["layers.0", "layers.1"]},
            }
        ),
    ]
    files = {kind: export[0] / f"{kind}.safetensors" for kind in ("generator", "discriminator")}
    assert starts(configs) == [
        f"the generator starts from {files['generator']}: all its 6 tensors",
        "layers.0 of the generator stays as it is (1 of 2 configurations)",
        f"the discriminator starts from {files['discriminator']}: all its 6 tensors "
        "(1 of 2 configurations)",
        "layers.0, layers.1 of the discriminator stay as they are (1 of 2 configurations)",
    ]
    assert starts([TrialConfig()]) == []
    shutil.rmtree(export[0])
    assert starts(configs[:1]) == [], "which is told elsewhere"


def test_frozen_layers_stay_and_the_others_learn(trainer):
    some = trainer(
        generator=BARE | {"freeze": ["layers.0"]}, discriminator=BARE | {"freeze": ["layers.1"]}
    )
    before = {
        side: {key: value.clone() for key, value in network.state_dict().items()}
        for side, network in (("g", some.generator), ("d", some.discriminator))
    }
    run_out(some)
    for side, network, held in (
        ("g", some.generator, "layers.0."),
        ("d", some.discriminator, "layers.1."),
    ):
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[side][key]) == key.startswith(held), (side, key)


def mistakes(**sections):
    tree = {"generator": BARE, "discriminator": BARE, "latent_size": 8} | sections
    _, found = complete(TrialConfig.model_validate(tree), Images((1, 8, 8)))
    return {path[0]: message for path, message in found}


def test_what_does_not_fit_is_told_before_anything_is_trained(export, tmp_path):
    folder = str(export[0])
    assert mistakes(generator=BARE | {"weights": folder}) == {}
    wider = mistakes(generator=BARE | {"width": 8, "weights": folder})["generator"]
    assert "layers.0.weight is 16x8 there and 8x8 here" in wider
    assert "and 2 more" in wider
    deeper = mistakes(discriminator=BARE | {"depth": 3, "weights": folder})["discriminator"]
    assert "it has no layers.7.weight" in deeper
    none = mistakes(generator=BARE | {"weights": str(tmp_path / "none")})["generator"]
    assert "cannot be read" in none
    nobody = mistakes(generator=BARE | {"weights": "~nobody-of-that-name/x"})["generator"]
    assert "/~nobody-of-that-name/x cannot be read: No such file" in nobody
    nul = mistakes(generator=BARE | {"weights": "a\0b"})["generator"]
    assert "/a\0b cannot be read: No such file" in nul
    other = tmp_path / "other.safetensors"
    known = export[1].generator.state_dict()
    save_file({**known, "a": torch.zeros(2)}, other)
    assert "this one has no a" in mistakes(generator=BARE | {"weights": str(other)})["generator"]


def test_weights_that_are_mended_are_read_again(export, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    file = given / "generator.safetensors"

    def told():
        return mistakes(generator=BARE | {"weights": str(given)}).get("generator", "")

    assert "cannot be read" in told()
    file.write_bytes(b"no weights")
    assert "cannot be read: Error while deserializing" in told()
    save_file({"a": torch.zeros(2)}, file)
    assert "is of another network" in told()
    file.write_bytes((export[0] / file.name).read_bytes())
    assert told() == ""


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"weight": (3, 2), "bias": (1,)}, "weight is 3x2 there and 1x2 here"),
        ({"weight": (1, 2)}, "it has no bias"),
        (
            {"weight": (3, 2), "bias": (), "b": (1,), "c": (1,)},
            "bias is one number there and 1 here; this one has no b; this one has no c, and 1 more",
        ),
    ],
)
def test_what_differs_from_another_network_is_told_three_at_most(tmp_path, stored, told):
    save_file({key: torch.zeros(shape) for key, shape in stored.items()}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="is of another network: ") as caught:
        start_from(torch.nn.Linear(2, 1), str(tmp_path / "w.safetensors"), "generator")
    assert str(caught.value).endswith(f" is of another network: {told}")


def test_what_cannot_be_frozen_is_told():
    found = mistakes(generator=BARE | {"freeze": ["layer.0"]})["generator"]
    assert "'layer.0' is no layer (they are: layers.0, layers.2, layers.4)" in found
    several = mistakes(generator=BARE | {"freeze": ["layers.0", "a", "b"]})["generator"]
    assert "'a', 'b' are no layers (they are:" in several
    whole = mistakes(discriminator=BARE | {"freeze": ["layers"]})["discriminator"]
    assert "nothing is left to be trained" in whole


def test_the_place_is_the_same_from_any_folder(monkeypatch, export):
    monkeypatch.chdir(export[0].parent)
    config = TrialConfig.model_validate(
        {"generator": BARE | {"weights": "export"}, "discriminator": BARE, "latent_size": 8}
    )
    completed, found = complete(config, Images((1, 8, 8)))
    assert found == []
    assert completed.generator.weights == str(export[0])


@pytest.mark.parametrize("weights", ["export", "{choice: [null, export], default: export}"])
def test_a_study_s_trials_name_the_place_from_any_folder_and_its_default_is_one(
    monkeypatch, export, weights
):
    """A worker on another node, and whoever resumes, works in another folder."""
    monkeypatch.chdir(export[0].parent)
    text = f"""
        data: digits
        generator: {{name: mlp, depth: 2, width: 16, norm: none, weights: {weights}}}
        discriminator: {{name: mlp, depth: 2, width: 16, norm: none}}
        latent_size: 8
    """
    spec, _ = read_study(parse_document(text, "study.yaml"), Path())
    assert [start.name for start in spec.start] == ["default"]
    assert spec.notes == ()
    assert spec.default.generator.weights == str(export[0])
    begun = spec.trial(0, lambda name, axis: spec.start[0].point[name])
    assert begun.generator.weights == str(export[0])
    monkeypatch.chdir("/")
    again, _ = read_study(parse_document(spec.to_yaml(), "study.yaml"), Path())
    assert again == spec


NETWORKS = """
generator: {name: mlp, depth: 2, width: 16, norm: none, weights: WEIGHTS}
discriminator: {name: mlp, depth: 2, width: 16, norm: none}
latent_size: 8
"""


@pytest.mark.parametrize("worked_in", [".", "elsewhere"])
def test_a_file_s_weights_lie_where_it_is_read_or_beside_it(monkeypatch, tmp_path, export, worked_in):
    """Files of configurations, with which a search begins or which are trained, and study files."""
    beside = export[0].parent
    (beside / "elsewhere").mkdir()
    monkeypatch.chdir(beside / worked_in)
    config = beside / "mine.yaml"
    config.write_text(NETWORKS.replace("WEIGHTS", "export") + "data: digits\n")
    assert load_config(config, tmp_path)[0].generator.weights == str(export[0])
    study = NETWORKS.replace("WEIGHTS", f"{{choice: [null, {export[0]}]}}")
    study += f"data: digits\nsearch: {{start: [{config}]}}\n"
    document = parse_document(study, "study.yaml")
    spec, _ = read_study(document, tmp_path, find=Known(tmp_path, tmp_path / "runs"))
    assert spec.start[-1].point == {"generator.weights": str(export[0])}
    (beside / "study.yaml").write_text(NETWORKS.replace("WEIGHTS", "export") + "data: digits\n")
    spec, _ = load_study(beside / "study.yaml", tmp_path)
    assert spec.default.generator.weights == str(export[0])
