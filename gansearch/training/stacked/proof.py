"""Networks of a user's own, held to their word: those that say that they stack are tried in a stack
before any are trained so, for numbers of one training in another's would be seen by nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.data.domain import Domain
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.stacked.check import StackCheck, told
from gansearch.study.config import TrialConfig, digest
from gansearch.training.building import build_discriminator, build_generator, is_conditional

NETWORKS, SAMPLES = 3, 4
"""How many are tried as one, and on how many samples each."""

_found: dict[tuple[Callable[..., Any], str], str] = {}


def why_unlike(config: TrialConfig, domain: Domain) -> str:
    """How the first of a configuration's own networks that is in a stack not what it is alone differs
    there, beginning with the part that it is; empty where none does.

    They are built and tried on the CPU, once for each kind and its options in a process; torch's random
    numbers stay as they were. Ours are not tried: the tests hold them to the same.
    """
    for section, registry in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS)):
        part = getattr(config, section)
        kind = registry.find(part.name)
        if kind.__module__.partition(".")[0] == "gansearch":
            continue
        key = kind, digest([part.model_dump(mode="json"), config.latent_size, domain.plain()])
        if key not in _found:
            _found[key] = _tried(config, domain, judges=section == "discriminator")
        if _found[key]:
            return f"{section}: {_found[key]}"
    return ""


def _tried(config: TrialConfig, domain: Domain, *, judges: bool) -> str:
    cpu = torch.device("cpu")
    build: Callable[[], nn.Module] = (
        partial(build_discriminator, config, domain, cpu)
        if judges
        else partial(build_generator, config, domain, cpu)
    )
    shape = domain.shape if judges else (config.latent_size,)
    where = f"'{(config.discriminator if judges else config.generator).name}'"
    with torch.random.fork_rng(devices=[]):
        try:
            networks = [_built(build, seed) for seed in range(NETWORKS)]
            labels = []
            if is_conditional(networks[0]):
                labels.append(told(NETWORKS, SAMPLES, len(domain.classes)))
            first, second = (_drawn(shape, seed) for seed in (1, 2))
            StackCheck(networks, [first, *labels], [second, *labels], judges=judges, where=where).run()
        except AssertionError as why:
            return str(why).replace("\n", "; ")
        except Exception as error:  # whatever a part of a user's raises
            return f"{where} fails on {SAMPLES} samples: {type(error).__name__}: {error}"
    return ""


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build().train()


def _drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(NETWORKS, SAMPLES, *shape, generator=chance).tanh()
