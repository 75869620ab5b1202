"""A study's plan: how its trials are chosen, stopped, placed and repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from gansearch.study.sections import MANY, Part, Positive, Section

DEFAULT = "default"
"""What the configuration with every axis at its default is called."""


class Start(Section):
    """What a search tries first: one of `config`, `study` and `point`. Text alone is a `config`.

    Attributes:
        config: `default`; or a configuration file, or the folder of an export, seen from the folder
            in which you work, else from that of the study file. Sections that it does not have are as
            in the default.
        study: an earlier study, whose best configurations are tried: by confirmed rank those that were
            trained again, then the other trials by their best report.
        top: how many of them.
        point: a value for each axis that exists there, by the axis's name.
        name: what a `point` is called in every table.
    """

    alone = "text"

    config: str | None = None
    study: str | None = None
    top: Positive | None = None
    point: dict[str, Any] | None = None
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"config": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of(self) -> Start:
        given = [key for key in ("config", "study", "point") if getattr(self, key) is not None]
        if len(given) != 1:
            told = " and ".join(given) or "none of them"
            raise ValueError(f"needs one of config, study and point, not {told}")
        if self.top is not None and self.study is None:
            raise ValueError("top goes with study")
        if (self.name is not None) != (self.point is not None):
            raise ValueError("name goes with point, and a point needs one")
        if self.name is not None and not (self.name.strip() and self.name.isprintable()):
            raise ValueError(f"the name is {self.name!r}: it takes some text on one line")
        return self

    @model_serializer(mode="plain")
    def _as_written(self) -> str | dict[str, Any]:
        if self.config is not None:
            return self.config
        fields = {key: getattr(self, key) for key in ("study", "top", "name", "point")}
        return {key: value for key, value in fields.items() if value is not None}

    @property
    def label(self) -> str:
        """What it is called in messages: as it is written."""
        return self.config or self.name or f"the best of '{self.study}'"


class Earlier(Section):
    """A study whose trials the sampler knows from the beginning. Text alone is its name.

    Attributes:
        study: its name.
        anyway: use its numbers although they were made differently: of other data, with other sample
            counts, over another budget.
    """

    alone = "a name"

    study: str
    anyway: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"study": value} if isinstance(value, str) else value

    @model_serializer(mode="plain")
    def _as_written(self) -> str | dict[str, Any]:
        return {"study": self.study, "anyway": True} if self.anyway else self.study


Belief = Literal["none", "weak", "medium", "strong"]


class Sampler(Part):
    """Who proposes what is tried: a sampler by name, with its own options beside.

    Attributes:
        name: the sampler, by name or as `package.module:Thing`; its own options stand beside.
        belief: how far to trust the axes' defaults that the study file gives
            (`{log: [1e-5, 1e-1], default: 2e-4}`): the share of the proposals that is drawn around
            them in the beginning (none, one, two, four in ten). It fades as trials end or are paused,
            and at once where those near the defaults do worse than the others.
    """

    name: str = "tpe"
    belief: Belief = "medium"


UNCOUNTED = 10_000
"""The number of trials where only device-hours are said."""


class SearchBudget(Section):
    """What a search may cost: it ends with whatever is reached first.

    Attributes:
        trials: how many configurations are tried; the same as `search.trials`, and said once.
        device_hours: hours of the devices that trials hold, summed over all of them, also those that
            failed or were paused: a trial's seconds up to its last report times its `gpus`, or its
            `cpus` where it holds no GPU. Trials that run come to their end.
        least_chance: end the search when the chance that the rest of it improves the best by more than
            a run's usual ups and downs is below this; None: never. It takes the next trials to be
            like the newer half of those that have ended, which a sampler's are only by and by.
    """

    trials: Annotated[int, Field(ge=0, le=MANY)] | None = None
    device_hours: Annotated[float, Field(gt=0)] | None = None
    least_chance: Annotated[float, Field(gt=0, lt=1)] | None = None


class Search(Section):
    """How the space is explored.

    Attributes:
        sampler: what proposes the trials, by name, with its own options.
        trials: how many configurations are tried; 0: a stability study of given ones alone.
        budget: the same number and further limits, of which the first that is reached ends the search.
        seed: fixes what the sampler proposes and, with the trial's number, the trial's own seed.
        start: what is tried before the sampler is asked, as trials like any other: the `default`,
            which comes first whether it is named or not, configuration files, exports, the best trials
            of earlier studies. None: the default alone; an empty list: nothing.
        learn_from: earlier studies whose trials the sampler knows from the beginning. They are none of
            this study's, and in no table.
    """

    sampler: Sampler = Sampler()
    trials: Annotated[int, Field(ge=0, le=MANY)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    start: list[Start] | None = None
    learn_from: list[Earlier] = Field(default=[])
    budget: SearchBudget | None = None

    @model_validator(mode="before")
    @classmethod
    def _trials_once(cls, value: Any) -> Any:
        """Have the number of trials at one place, and some number where only hours are said."""
        budget = value.get("budget") if isinstance(value, Mapping) else None
        if not isinstance(budget, Mapping):
            return value
        if "trials" in budget and "trials" in value:
            raise ValueError("trials is said twice: here, and in budget")
        hours = budget.get("device_hours") is not None
        trials = {"trials": budget["trials"]} if budget.get("trials") is not None else {}
        said = trials or ({"trials": UNCOUNTED} if hours and "trials" not in value else {})
        rest = {key: child for key, child in budget.items() if key != "trials"}
        return {**value, **said, "budget": rest or None}


class Pruner(Part):
    """When a trial is stopped for falling behind: a pruner by name, with its own options beside.

    Attributes:
        name: the pruner, by name or as `package.module:Class`; its own options stand beside.
    """

    name: str = "asha"

    @model_validator(mode="before")
    @classmethod
    def _of_old(cls, value: Any) -> Any:
        """Version 0.1.0 wrote ASHA's options beside `none`, too, where they mean nothing."""
        if isinstance(value, Mapping) and value.get("name") == "none":
            return {k: v for k, v in value.items() if k not in ("reduction_factor", "min_steps")}
        return value


class Resources(Section):
    """What one worker holds while it runs. GPUs may be shared: 0.25 puts four workers on one.

    Attributes:
        cpus: CPU cores of a worker, and its torch threads.
        gpus: GPUs of a worker; below 1, its share of one GPU's memory too.
        lanes: trials that a worker carries at a time; fewer where few are left for all workers. Those
            of one architecture train as one, several times as fast where networks are small, all others
            in turn; each is, up to rounding, what it would be alone. `auto`: as many as are measured to
            be fastest on this machine, if any, in the repetitions on fresh seeds; fewer in a search,
            where a worker is to have five times as many trials as it carries and none is to take much
            longer than alone; and one where the configuration is `deterministic`.
        compile: have the step of each training compiled, on a GPU as one graph of kernels: several
            times as fast where networks are small, with the same numbers up to rounding. It takes half
            a minute for each architecture, once, and on a CPU a C++ compiler.
        retries: how often in a row, with no report between, a trial goes on from its last checkpoint
            after its worker died. A node's death does not count.
        halve_batch: how often one that is out of memory goes on from there with each batch computed in
            twice as many pieces. Their gradients are added up: the batch size is what it was, the
            trial slower.
    """

    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0)] = 0.0
    lanes: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    compile: bool = False
    retries: Annotated[int, Field(ge=0, le=MANY)] = 2
    halve_batch: Annotated[int, Field(ge=0, le=16)] = 0

    @property
    def devices(self) -> float:
        """What a trial holds: a share of a GPU, or CPUs where it holds none."""
        return self.gpus or float(self.cpus)

    @property
    def carried(self) -> int:
        """Trials that a worker carries at most, where that is not to be measured."""
        return 1 if self.lanes == "auto" else self.lanes

    @model_validator(mode="after")
    def _whole_gpus(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus is {self.gpus:g}: shares are of one GPU, more come whole")
        return self


class Stability(Section):
    """What is trained again on fresh seeds, unpruned, once the search has ended.

    Attributes:
        top: how many of the search's best configurations; of a smaller search, all that have a value.
        per: the best of the whole `study`, or of each `loss` (with its penalty).
        seeds: how often each is trained.
        default: whether the study's configuration with every axis at its default joins them.
        configurations: further ones by label; each gives sections in place of the default's.
    """

    top: Annotated[int, Field(ge=0, le=10_000)] = 5
    per: Literal["study", "loss"] = "study"
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 10
    default: bool = True
    configurations: dict[str, dict[str, Any]] = Field(default={})


class PublishedValue(Section):
    """A figure from a paper.

    Attributes:
        mean: mean over seeds.
        sd: standard deviation over seeds; None: not told.
    """

    mean: float
    sd: Annotated[float, Field(ge=0)] | None = None


class Published(Section):
    """What a paper reports, for the study's report to print beside its own figures.

    Attributes:
        source: the paper.
        metric: what its figures are.
        note: how they were made.
        values: by loss and penalty, as `wasserstein + gradient-penalty`, of those that trials have.
    """

    source: str
    metric: str
    note: str = ""
    values: dict[str, PublishedValue]


class Plan(Section):
    """What a study says beside its trials' configurations.

    Attributes:
        question: what the study is to answer, in a sentence.
        keep: for how many of the best trials the weights are kept.
        stability: what is trained again on fresh seeds after the search, unpruned; None: nothing.
        published: a paper's figures, for the study's report to print beside its own.
    """

    question: str = ""
    search: Search = Search()
    pruner: Pruner = Pruner()
    resources: Resources = Resources()
    keep: Positive = 5
    stability: Stability | None = None
    published: Published | None = None

    @property
    def seconds(self) -> float:
        """For how long the search's trials may train, all together; infinite where nothing says."""
        hours = self.search.budget.device_hours if self.search.budget else None
        return math.inf if hours is None else 3600 * hours / self.resources.devices


def of_a_study(tree: Mapping[str, Any]) -> str:
    """What makes a file a study's and not a configuration's, in words; "" where nothing does."""
    keys = ", ".join(key for key in tree if key in Plan.model_fields)
    return f"it has {keys}, so it is a study's file and not a configuration's" if keys else ""
