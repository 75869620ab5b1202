"""What the discriminator sees: packs, noise, augmentation, each alone and through a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansearch.data.domain import Images, Points
from gansearch.losses import LOSSES
from gansearch.networks import mlp
from gansearch.study.config import TrialConfig
from gansearch.training.building import build_discriminator, domain_judged
from gansearch.training.completion import complete
from gansearch.training.view import View

BARE = {"name": "mlp", "depth": 1, "width": 16, "norm": "none"}
DIGITS, PLANE = Images((1, 8, 8)), Points((2,))
CPU = torch.device("cpu")


def view(seed=0, **shown):
    config = TrialConfig.model_validate({"discriminator": BARE | shown, "budget": {"steps": 100}})
    return View(config, LOSSES.build("non-saturating", {}), torch.Generator().manual_seed(seed))


def exact(trainer):
    while not trainer.finished:
        trainer.advance()
    return [dict(report.metrics) | {"images_per_second": 0} for report in trainer.reports]


def test_without_options_it_is_the_sample():
    samples = torch.randn(6, 1, 8, 8)
    assert view()(samples, 3) is samples


def test_a_pack_is_samples_behind_one_another():
    samples = torch.arange(12.0).view(6, 2)
    assert view(pack=3)(samples, 0).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    images = torch.randn(6, 3, 4, 4)
    seen = view(pack=2)(images, 0)
    assert seen.shape == (3, 6, 4, 4)
    assert torch.equal(seen[1], torch.cat([images[2], images[3]]))
    shown = [{"discriminator": BARE | {"pack": pack}} for pack in (2, 4)]
    two, four = map(TrialConfig.model_validate, shown)
    assert domain_judged(two, Images((3, 4, 4))).shape == (6, 4, 4)
    assert domain_judged(four, PLANE).shape == (8,)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "sndcgan", "resnet", "r3"])
def test_any_discriminator_can_be_given_packs(name):
    config = TrialConfig.model_validate({"discriminator": {"name": name, "width": 8, "pack": 4}})
    network = build_discriminator(config, Images((3, 16, 16)), CPU)
    assert network(torch.randn(2, 12, 16, 16)).shape == (2,)


def test_noise_has_its_deviation_and_falls_by_its_schedule():
    still = torch.zeros(200, 50)
    for shown, step, expected in [
        ({"noise": 0.5}, 70, 0.5),
        ({"noise": {"std": 0.5, "schedule": "linear"}}, 0, 0.5),
        ({"noise": {"std": 0.5, "schedule": "linear"}}, 50, 0.25),
        ({"noise": {"std": 0.5, "schedule": "linear"}}, 99, 0.005),
    ]:
        assert view(**shown)(still, step).std().item() == pytest.approx(expected, rel=0.03)


def test_noise_takes_part_in_the_gradient_of_the_samples():
    samples = torch.zeros(4, 2, requires_grad=True)
    view(noise=0.5)(samples, 0).sum().backward()
    assert torch.equal(samples.grad, torch.ones(4, 2))


CONFIGURATIONS = {
    "packs": {"discriminator": BARE | {"pack": 4}, "loss": {"name": "hinge", "penalty": "r1"}},
    "noise": {"discriminator": BARE | {"noise": {"std": 0.3, "schedule": "cosine"}}},
    "diffaugment": {"discriminator": BARE | {"augment": "diffaugment"}},
    "ada": {
        "discriminator": BARE | {"augment": {"name": "ada", "images": 200, "target": -0.9}},
        "loss": {"name": "non-saturating", "penalty": "r1"},
    },
    "all at once": {
        "discriminator": BARE | {"augment": "diffaugment", "noise": 0.1, "pack": 2},
        "loss": {"name": "relativistic-paired", "penalty": "r1-r2"},
    },
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_training_goes_on_from_a_checkpoint_exactly(trainer, name):
    sections = CONFIGURATIONS[name]
    whole = trainer(**sections)
    expected = exact(whole)
    begun = trainer(**sections)
    begun.advance(), begun.advance()
    rest = trainer(**sections)
    rest.load(begun.state())
    assert exact(rest) == expected
    for a, b in zip(
        whole.generator.state_dict().values(), rest.generator.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    assert ("augmented" in expected[-1]) == (name == "ada")
    plain = exact(trainer(discriminator=BARE, loss=sections.get("loss", {"name": "non-saturating"})))
    assert plain != expected


def test_a_packed_discriminator_judges_as_many_packs(trainer):
    packs = trainer(discriminator=BARE | {"pack": 4})
    sizes = []
    packs.discriminator.register_forward_hook(lambda _, inputs, output: sizes.append(len(output)))
    packs.advance()
    assert set(sizes) == {4}


def test_packs_stay_together_in_micro_batches(trainer):
    sections = {"discriminator": BARE | {"pack": 4}, "generator": BARE, "loss": {"name": "hinge"}}
    sections["optimizer"] = {side: {"name": "sgd"} for side in ("generator", "discriminator")}
    whole, split = trainer(**sections), trainer(**sections)
    split.split(2)
    exact(whole), exact(split)
    for a, b in zip(
        whole.discriminator.state_dict().values(),
        split.discriminator.state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no 3 micro-batches"):
        trainer(**sections).split(3)


def test_ada_grows_while_the_discriminator_is_sure(trainer):
    sure = {"augment": {"name": "ada", "images": 100, "target": -1.0}}
    reports = exact(trainer(discriminator=BARE | sure))
    assert reports[0]["augmented"] < reports[-1]["augmented"] <= 1
    assert np.all(np.diff([report["augmented"] for report in reports]) >= 0)


# What is refused


class MadeCritic:
    """Knows that it has no decision once it is made."""

    g_uses_real = False

    def __init__(self):
        self.decision = None

    def d(self, real, fake):
        return (fake - real).mean(-1)

    def g(self, real, fake):
        return -fake.mean(-1)


def mistakes(domain=DIGITS, **sections):
    tree = {"generator": "mlp", "discriminator": "mlp", "batch_size": 64} | sections
    _, found = complete(TrialConfig.model_validate(tree), domain)
    return {".".join(map(str, path)): message for path, message in found}


def test_packs_must_divide_the_batch():
    found = mistakes(discriminator=BARE | {"pack": 3})
    assert (
        "packs of 3 do not divide batch_size, 64: take a batch of 63 or 66"
        in found["discriminator.pack"]
    )
    assert mistakes(discriminator=BARE | {"pack": 4}) == {}


def test_held_out_samples_are_a_pack_at_least():
    def told(count):
        asked = {"metrics": ["fd_classifier"], "held_out": count}
        return mistakes(discriminator=BARE | {"pack": 4}, evaluation=asked)

    assert told(3) == {"evaluation.held_out": "3 are no pack, of 4: ask for more"}
    assert told(4) == {}


def test_a_critic_is_asked_about_a_pack_of_generated_samples_at_least():
    """Its threshold lies between its means on real and on generated ones; another's loss has one."""

    def told(samples, loss):
        asked = {"metrics": ["fd_classifier"], "held_out": 32, "samples": samples}
        return mistakes(discriminator=BARE | {"pack": 16}, evaluation=asked, loss=loss)

    words = "10 are no pack, of 16, and a critic is asked about one: ask for more"
    assert told(10, "wasserstein") == {"evaluation.samples": words}
    assert told(16, "wasserstein") == told(10, "hinge") == {}
    assert told(10, f"{__name__}:MadeCritic") == {"evaluation.samples": words}


def test_a_single_pack_is_no_batch_for_batch_norm():
    """Of maps one is enough: their places are normalised too."""
    found = mistakes(batch_size=4, discriminator=BARE | {"norm": "batch", "pack": 4})
    assert "one pack, and batch norm takes two: take a batch of 8" in found["discriminator.pack"]
    assert mistakes(batch_size=8, discriminator=BARE | {"norm": "batch", "pack": 4}) == {}
    assert mistakes(batch_size=4, discriminator=BARE | {"norm": "layer", "pack": 4}) == {}
    maps = {"name": "dcgan", "width": 4, "norm": "batch", "pack": 4}
    assert mistakes(Images((1, 16, 16)), batch_size=4, discriminator=maps) == {}


def test_packs_have_no_class():
    classed = Images((1, 8, 8), ("a", "b"), (3, 4))
    both = {"name": "mlp", "conditional": True}
    found = mistakes(classed, generator=both, discriminator=both | {"pack": 2})
    assert "several classes" in found["discriminator.pack"]


class Told(mlp.Discriminator):
    """One of a user's own, which says of itself that it is told the classes."""

    def __init__(self, domain):
        super().__init__(domain, conditional=True)


def test_nor_have_those_of_a_discriminator_that_says_it_in_its_class():
    classed = Images((1, 8, 8), ("a", "b"), (3, 4))
    made = {"name": "mlp", "conditional": True}
    found = mistakes(classed, generator=made, discriminator={"name": f"{__name__}:Told", "pack": 2})
    assert "several classes" in found["discriminator.pack"]
    assert mistakes(classed, generator=made, discriminator=f"{__name__}:Told") == {}


def test_augmentations_are_for_images_and_ada_for_losses_that_decide():
    assert (
        "is for images"
        in mistakes(PLANE, discriminator=BARE | {"augment": "ada"})["discriminator.augment"]
    )
    wasserstein = {"loss": "wasserstein", "discriminator": BARE | {"augment": "ada"}}
    assert "fixed `probability`" in mistakes(**wasserstein)["discriminator.augment"]
    fixed = BARE | {"augment": {"name": "ada", "probability": 0.2}}
    assert mistakes(loss="wasserstein", discriminator=fixed) == {}
    found = mistakes(discriminator=BARE | {"augment": {"name": "diffaugmnt"}})
    assert "did you mean 'diffaugment'" in found["discriminator.augment.name"]


def test_what_is_not_asked_for_is_not_written():
    written = TrialConfig().plain()["discriminator"]
    assert set(written) == {"name"}
    shown = TrialConfig.model_validate({"discriminator": {"name": "mlp", "noise": 0.1, "pack": 2}})
    assert TrialConfig.model_validate(shown.plain()) == shown
