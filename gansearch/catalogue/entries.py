"""Every part and every key of a study file, as data.

The options of a part are the keyword-only parameters of its callable, their meaning stands in its
docstring (`Args:`), its ranges in its annotations; the keys of a study file are the fields of pydantic
models, with their meaning under `Attributes:`. So the reference cannot lag behind the code: `gansearch
parts` prints it, and docs/reference holds the same text.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gansearch.catalogue.docstrings import Docstring
from gansearch.catalogue.types import schema_of, shown, takes
from gansearch.errors import UserError, nearest
from gansearch.study.config import AXES_ALLOWED, TrialConfig
from gansearch.study.health import Health
from gansearch.study.plan import Plan
from gansearch.study.registry import Registry
from gansearch.study.sections import Part

STUDY = "study"
"""The kind under which the keys of a study file are asked for."""


class Kind(NamedTuple):
    """One kind of part.

    Attributes:
        title: its heading.
        where: the key of a study file that names such a part.
        contract: what a part of one's own has to be.
        check: its conformance test in `gansearch.testing`, if there is one.
        registry: "module:NAME" of its registry; empty for the health rules, which are no parts by name.
        facts: class attributes worth showing, and how.
        besides: another conformance test, of what not every such part does.
    """

    title: str
    where: str
    contract: str
    check: str = ""
    registry: str = ""
    facts: Mapping[str, str] = {}
    besides: str = ""


KINDS = {
    "data": Kind(
        "Data sets",
        "data",
        "a function of (root, split, image_size) and keyword-only options that returns an `ImageData`, or "
        "a `PointData` (then marked `@of_points`)",
        "check_dataset",
        "gansearch.data:DATASETS",
    ),
    "generator": Kind(
        "Generators",
        "generator",
        "an `nn.Module` built from (domain, latent_size) and keyword-only options, with `stacks = True` "
        "where `gansearch.testing.check_stacked` says that it is in lanes what it is alone",
        "check_generator",
        "gansearch.networks:GENERATORS",
        besides="check_stacked",
    ),
    "discriminator": Kind(
        "Discriminators",
        "discriminator",
        "an `nn.Module` built from (domain) and keyword-only options, with `stacks = True` "
        "where `gansearch.testing.check_stacked` says that it is in lanes what it is alone",
        "check_discriminator",
        "gansearch.networks:DISCRIMINATORS",
        besides="check_stacked",
    ),
    "loss": Kind(
        "Losses",
        "loss",
        "a class with methods `d(real, fake)` and `g(real, fake)` on logits",
        "check_loss",
        "gansearch.losses:LOSSES",
        {"decision": "real above a logit of {}"},
    ),
    "penalty": Kind(
        "Penalties",
        "loss.penalty",
        "a class that is called with (critic, real, fake)",
        "check_penalty",
        "gansearch.losses:PENALTIES",
    ),
    "augmentation": Kind(
        "Augmentations",
        "discriminator.augment",
        "a class that is called with (images, draws=draws)",
        "check_augmentation",
        "gansearch.augmentation:AUGMENTATIONS",
    ),
    "optimizer": Kind(
        "Optimizers",
        "optimizer.generator, optimizer.discriminator",
        "a function of (parameters) and keyword-only options that returns a `torch.optim.Optimizer`",
        "check_optimizer",
        "gansearch.training.optimizers:OPTIMIZERS",
    ),
    "metric": Kind(
        "Metrics",
        "evaluation.metrics",
        "a class with `of_real(real)` and a call with (fake, real)",
        "check_metric",
        "gansearch.metrics:METRICS",
        {"goal": "better: {}", "features": "features: {}"},
    ),
    "features": Kind(
        "Feature extractors",
        "the attribute `features` of a metric",
        "a class with `obtain(data, ...)` that is built from weights and called with samples",
        "",
        "gansearch.metrics:FEATURES",
    ),
    "sampler": Kind(
        "Samplers",
        "search.sampler",
        "called with (seed, conditional) and keyword-only options; has `history`, `swayed` and "
        "`draws(past, space)`, which yields points, or is one of Optuna's samplers",
        "check_sampler",
        "gansearch.search:SAMPLERS",
    ),
    "pruner": Kind(
        "Pruners",
        "pruner",
        "a class built from (config) and keyword-only options, with a method `judge(trial, report)`, and "
        "where it pauses trials another, `choose(paused, fresh)` (see `gansearch.search.pruners`)",
        "check_pruner",
        "gansearch.search:PRUNERS",
    ),
    "health": Kind(
        "Health rules",
        "health",
        "not a part by name: each is set by its options, or switched off by `false`",
    ),
}


@dataclass(frozen=True)
class Option:
    """An option of a part, or a key of a study file.

    Attributes:
        name: its name; for a key, its dotted path.
        takes: type, range and choices in words.
        default: as it stands in a study file; "required" where there is none.
        meaning: in a sentence; empty where its author gave none.
    """

    name: str
    takes: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Entry:
    """A part as its author describes it.

    Attributes:
        kind: a key of `KINDS`.
        name: as a study file names it.
        description: its docstring, up to the options.
        sources: the papers that the docstring names.
        facts: what its class says of itself.
        options: in the order of its signature.
    """

    kind: str
    name: str
    description: str
    sources: tuple[str, ...]
    facts: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()

    @property
    def summary(self) -> str:
        """The first sentence of the description, on one line."""
        first = " ".join(self.description.partition("\n\n")[0].split())
        return re.split(r"(?<=[^.]{2})\. (?=[A-Z`])", first)[0].rstrip(".:")


@dataclass(frozen=True)
class Chapter:
    """A top-level key of a study file with all the keys below it.

    Attributes:
        key: the key.
        description: what its section is.
        options: its keys, by dotted path.
        axes: whether its values may be axes.
    """

    key: str
    description: str
    options: tuple[Option, ...] = ()
    axes: bool = False


def parts(kind: str) -> tuple[Entry, ...]:
    """All parts of a kind, in the order of registration; raises `UserError` for an unknown kind."""
    if kind == "health":
        return tuple(_rules())
    return tuple(part(kind, name) for name in _registry(kind).names)


def part(kind: str, name: str) -> Entry:
    """One part, by its name or as `package.module:Thing`.

    Raises:
        UserError: there is no such kind, or no such part.
    """
    if kind == "health":
        rules = {rule.name: rule for rule in _rules()}
        if name not in rules:
            raise UserError(f"there is no health rule '{name}'{nearest(name, rules)}")
        return rules[name]
    registry = _registry(kind)
    found = registry.find(name)
    doc = Docstring.of(found)
    facts = tuple(
        words.format(value)
        for attribute, words in KINDS[kind].facts.items()
        if (value := getattr(found, attribute, None)) is not None
    )
    options = _options(registry.options(name), doc.entries)
    return Entry(kind, name, doc.description, doc.sources, facts, options)


def study_keys() -> tuple[Chapter, ...]:
    """The keys of a study file in the order in which one is written."""
    trial, plan = TrialConfig.model_fields, Plan.model_fields
    chapters = [*_chapters(TrialConfig, [key for key in trial if key != "seed"])]
    return (*_chapters(Plan, ["question"]), *chapters, *_chapters(Plan, plan.keys() - {"question"}))


def _registry(kind: str) -> Registry[Any]:
    if kind not in KINDS:
        raise UserError(f"there is no kind of part '{kind}'{nearest(kind, [*KINDS, STUDY])}")
    module, _, name = KINDS[kind].registry.partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(module), name)
    return registry


def _rules() -> Iterator[Entry]:
    """The health rules, whose options are sections of the study file."""
    for name, info in Health.model_fields.items():
        model = _section(info.annotation)
        if model is not None:
            doc = Docstring.of(model)
            yield Entry("health", name, doc.description, doc.sources, (), _options(model, doc.entries))


def _chapters(model: type[BaseModel], keys: Iterable[str]) -> Iterator[Chapter]:
    doc = Docstring.of(model)
    for key in (key for key in model.model_fields if key in set(keys)):
        info = model.model_fields[key]
        section = _section(info.annotation)
        if section is None:
            options = tuple(o for o in _options(model, doc.entries) if o.name == key)
            yield Chapter(key, "", options, key in AXES_ALLOWED)
        else:
            options = tuple(_below(section, f"{key}.", info.default))
            described = _plain(doc.entries.get(key, "") or Docstring.of(section).description)
            yield Chapter(key, described, options, key in AXES_ALLOWED)


def _below(model: type[BaseModel], prefix: str, default: Any = None) -> Iterator[Option]:
    """The keys of a section and of the sections in it, by dotted path.

    Args:
        model: the section's.
        prefix: of the paths.
        default: the section where a study file has none; its keys' defaults are read from it.
    """
    for option in _options(model, Docstring.of(model).entries, default):
        info = model.model_fields[option.name]
        section, name = _section(info.annotation), f"{prefix}{option.name}"
        if section is None:
            yield replace(option, name=name)
        elif issubclass(section, Part):
            yield replace(option, name=name)
            own = _below(section, f"{name}.", getattr(default, option.name, None))
            yield from (key for key in own if key.name != f"{name}.name")
        else:
            meaning = option.meaning or _plain(" ".join(Docstring.of(section).summary.split()))
            yield replace(option, name=name, meaning=meaning)
            labels = "LABEL." if get_origin(info.annotation) is dict else ""
            yield from _below(section, f"{name}.{labels}", getattr(default, option.name, None))


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model behind an annotation such as `Collapsed | Literal[False]` or `list[Start] | None`, if
    there is one.
    """
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def _options(
    model: type[BaseModel], meanings: Mapping[str, str], default: Any = None
) -> tuple[Option, ...]:
    """The fields of a model; their defaults are those of `default`, where that is given."""
    schemas, definitions = schema_of(model)
    return tuple(
        Option(
            name,
            takes(schemas[name], definitions) if name in schemas else "anything",
            _default(name, info, default),
            _plain(meanings.get(name, "")),
        )
        for name, info in model.model_fields.items()
    )


def _default(name: str, info: FieldInfo, section: Any) -> str:
    if isinstance(section, BaseModel):
        return shown(getattr(section, name))
    if info.is_required():
        return "required"
    return shown(info.get_default(call_default_factory=True))


def _plain(meaning: str) -> str:
    """A meaning as a sentence of its own, about a YAML file: None is `null` there.

    A symbol of the formula above stays as it stands there: `t; 1 is the plain loss`.
    """
    symbol = re.match(r"[a-z][;:,.=]", meaning)
    return re.sub(r"\bNone\b", "null", meaning if symbol else meaning[:1].upper() + meaning[1:])
