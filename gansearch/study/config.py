"""A trial: one configuration, every default filled in, nothing left to look up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from gansearch.errors import InvalidInput, Problem
from gansearch.study.document import dotted
from gansearch.study.evaluation import Budget, Evaluation, Objective
from gansearch.study.health import Health
from gansearch.study.mistakes import explained
from gansearch.study.networks import Data, Discriminator, Generator, Loss, Optimizers
from gansearch.study.records import Best, Report, best_report
from gansearch.study.sections import LATER, Section


class TrialConfig(Section):
    """All that training one GAN needs to know.

    Attributes:
        generator: the network that makes samples from noise.
        discriminator: the network that tells real samples from generated ones.
        latent_size: length of the noise vector.
        batch_size: images in a batch, real and generated alike.
        discriminator_steps: discriminator updates for each generator update.
        ema: decay per step of the averaged generator that is evaluated and exported, at step t at most
            (1 + t) / (10 + t), so that it forgets the random start; None: no average.
        precision: number format of the passes through the networks in training. With `bfloat16`
            (torch's autocast) weights, losses, penalties and averages stay in float32, and so does
            the evaluation.
        unsound: what to do with combinations that can be trained and make no sense, such as weight
            clipping with spectral norm: `refuse` them, or `allow` them, as a repeated paper may need.
        deterministic: use only deterministic algorithms, so that a GPU repeats a trial bit for bit as
            CPUs do anyway; slower, and an error where a network needs one that there is not.
        seed: fixes initialisation, data order and noise.
    """

    data: Data = Data()
    generator: Generator = Generator(name="dcgan")
    discriminator: Discriminator = Discriminator(name="dcgan")
    loss: Loss = Loss(name="non-saturating")
    optimizer: Optimizers = Optimizers()
    latent_size: Annotated[int, Field(ge=1, le=2**20)] = 64
    batch_size: Annotated[int, Field(ge=2, le=2**20)] = 64
    discriminator_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    ema: Annotated[float, Field(ge=0, lt=1)] | None = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    budget: Budget = Budget()
    evaluation: Evaluation = Evaluation()
    objective: Objective = Objective()
    health: Health = Health()
    unsound: Annotated[Literal["refuse", "allow"], LATER] = "refuse"
    deterministic: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def plain(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON, from which the same configuration can be read."""
        return self.model_dump(mode="json")

    def best(self, reports: Sequence[Report]) -> Best | None:
        """The best of a trial's reports by the objective; None where none has a finite value."""
        return best_report(reports, self.objective.metric, self.objective.towards)


AXES_ALLOWED = (
    "generator",
    "discriminator",
    "loss",
    "optimizer",
    "latent_size",
    "batch_size",
    "discriminator_steps",
    "ema",
    "precision",
)
"""The sections that may differ between the trials of one study; the rest is what they share, without
which their numbers could not be compared. (`deterministic` would not spoil a comparison; but cuBLAS is
told of it once a process, and a process trains several trials.)"""

ADDED = {"precision": "float32", "deterministic": False}
"""Keys that configurations once did not have, and what is meant where they are missing."""


def stored_config(plain: Mapping[str, Any], whose: str) -> TrialConfig:
    """A configuration that was written down once.

    Args:
        plain: as plain values.
        whose: in messages: `trial 3`.

    Raises:
        InvalidInput: it is none of this version's.
    """
    try:
        return TrialConfig.model_validate(plain)
    except ValidationError as error:
        told = explained(TrialConfig, plain, error)
        problems = [Problem(dotted(path), words) for path, words in told]
        raise InvalidInput(f"the configuration of {whose}, as it was stored", problems) from error


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"loss": {"name": "hinge"}}` -> `{"loss.name": "hinge"}`; lists are leaves, as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def loss_family(config: Mapping[str, Any]) -> str:
    """What papers name a GAN by, its loss and penalty: `hinge`, `wasserstein + gradient-penalty`.

    Args:
        config: a configuration as plain values.
    """
    loss = config["loss"]
    penalty = loss.get("penalty")
    return f"{loss['name']} + {penalty['name']}" if penalty else str(loss["name"])


def digest(tree: Any) -> str:
    """SHA-256 of plain values in canonical JSON, as 16 hex digits: equal where they are equal."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_digest(config: Mapping[str, Any]) -> str:
    """The digest of a configuration as plain values: one written before a key was added keeps its."""
    return digest({k: v for k, v in config.items() if k not in ADDED or v != ADDED[k]})


def trial_seed(study_seed: int, number: int, purpose: str = "search") -> int:
    """The seed of a trial, in [0, 2^31): a hash, so that no two studies or purposes share streams."""
    seen = hashlib.sha256(f"{purpose}/{study_seed}/{number}".encode()).digest()
    return int.from_bytes(seen[:4], "big") >> 1
