"""Networks that start from an export's weights, and parts of them that stay as they are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from gansearch import files
from gansearch.errors import StorageError
from gansearch.study.config import TrialConfig
from gansearch.study.networks import Discriminator, Generator
from gansearch.study.records import count

log = logging.getLogger(__name__)


def weights_file(source: str, kind: str) -> Path:
    """The file of one network's weights: itself, or in an export's folder.

    Args:
        source: the folder, or the file.
        kind: "generator" or "discriminator".
    """
    path = files.expanded(source)
    return path / f"{kind}.safetensors" if path.is_dir() else path


def from_scratch(config: TrialConfig) -> TrialConfig:
    """A configuration without the weights that its networks begin with, which may be gone by the time
    at which nothing begins any more.
    """
    sides = {"generator": config.generator, "discriminator": config.discriminator}
    without = {kind: side.model_copy(update={"weights": None}) for kind, side in sides.items()}
    return config.model_copy(update=without) if begins_with_weights(config) else config


def begins_with_weights(config: TrialConfig) -> bool:
    """Whether any of its networks begins with an export's."""
    return any(side.weights is not None for side in (config.generator, config.discriminator))


def starts(configs: Sequence[TrialConfig]) -> list[str]:
    """What networks begin with besides random numbers, and what of them stays, in words: a line for
    each such beginning, with how many of several configurations have it.
    """
    told = Counter(line for config in configs for line in _begins(config))
    return [
        line if times == len(configs) else f"{line} ({times} of {len(configs)} configurations)"
        for line, times in told.items()
    ]


def _begins(config: TrialConfig) -> Iterator[str]:
    sides: dict[str, Generator | Discriminator]
    sides = {"generator": config.generator, "discriminator": config.discriminator}
    for kind, side in sides.items():
        if side.weights is not None:
            file = weights_file(side.weights, kind)
            with suppress(OSError, SafetensorError), safe_open(file, "pt") as stored:
                yield f"the {kind} starts from {file}: all its {count(len(stored.keys()), 'tensor')}"
        if side.freeze:
            stay = "stays as it is" if len(side.freeze) == 1 else "stay as they are"
            yield f"{', '.join(side.freeze)} of the {kind} {stay}"


def start_from(network: nn.Module, source: str, kind: str) -> None:
    """Give a network the weights of an export, all of them; on the meta device only look whether they
    fit.

    Args:
        network: freshly built.
        source: an export's folder, or a file of weights.
        kind: "generator" or "discriminator".

    Raises:
        StorageError: there is no such file, or it cannot be read now.
        ValueError: its weights are not those of this network.
    """
    file = weights_file(source, kind)
    try:
        with safe_open(file, "pt") as stored:
            theirs = {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
    except OSError as error:
        raise StorageError(f"weights: {file} cannot be read: {error}") from error
    except SafetensorError as error:
        raise ValueError(f"weights: {file} cannot be read: {error}") from error
    ours = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    if amiss := _amiss(ours, theirs):
        more = f", and {len(amiss) - 3} more" if len(amiss) > 3 else ""
        raise ValueError(f"weights: {file} is of another network: {'; '.join(amiss[:3])}{more}")
    if any(tensor.is_meta for tensor in network.state_dict().values()):
        return
    network.load_state_dict(load_file(file))
    log.info("the %s starts from %s: %d tensors", kind, file, len(theirs))


def _amiss(ours: dict[str, tuple[int, ...]], theirs: dict[str, tuple[int, ...]]) -> list[str]:
    """What of two networks differs, tensor by tensor."""
    unlike = [f"it has no {key}" for key in ours.keys() - theirs.keys()]
    unlike += [f"this one has no {key}" for key in theirs.keys() - ours.keys()]
    unlike += [
        f"{key} is {_shown(theirs[key])} there and {_shown(ours[key])} here"
        for key in ours.keys() & theirs.keys()
        if ours[key] != theirs[key]
    ]
    return sorted(unlike)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def freeze(network: nn.Module, names: Sequence[str]) -> None:
    """Let parameters stay as they are: those of these names, and of the layers of these names.

    Raises:
        ValueError: a name is of nothing, or nothing is left to be trained.
    """
    parameters = dict(network.named_parameters())
    held = {
        name: [key for key in parameters if key == name or key.startswith(f"{name}.")] for name in names
    }
    if unknown := [f"'{name}'" for name, keys in held.items() if not keys]:
        layers = sorted({key.rpartition(".")[0] for key in parameters})
        words = "is no layer" if len(unknown) == 1 else "are no layers"
        raise ValueError(f"freeze: {', '.join(unknown)} {words} (they are: {', '.join(layers)})")
    for keys in held.values():
        for key in keys:
            parameters[key].requires_grad_(False)
    if names and not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError("freeze: nothing is left to be trained")
