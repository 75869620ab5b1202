"""The runs of one study in MLflow: a parent run, and below it the trials of its search.

    study                     one run; the search's trials
      0007 diverged             are its children,
      trial 7                   and so are the configurations that are trained again,
        diverged, seed 123456   whose children are their seeds

Search and stability study are two *phases*, each with trial numbers from 0, and each object shows
one of them. A trial of the search is a child of the study that has a number; all runs of the
stability study carry `gansearch.part` and, as MLflow finds children but not grandchildren, the id of
the study's run.

`connect` reads what MLflow has; after it, `send` writes only what is missing. Each write can be
made twice with the same result, and what a run has is noted in its tags after it has it, so a
process may be killed anywhere in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from gansearch.files import Place
from gansearch.study.config import digest
from gansearch.study.document import write_document
from gansearch.study.records import Goal, Outcome, TrialRecord
from gansearch.tracking.bulk import NewRun, takes_many, write_many
from gansearch.tracking.client import (
    IDENTITY,
    PARENT,
    PART,
    STUDY,
    STUDY_FILE,
    STUDY_RUN,
    batches,
    experiment_of,
    find_configurations,
    find_parent,
    open_client,
    search,
    trials_again,
    trials_of_search,
)
from gansearch.tracking.images import listed_images, send_image
from gansearch.tracking.known import Known, known_configurations, known_trials
from gansearch.tracking.translate import (
    CONFIG,
    CONFIGURATION,
    NOTE,
    OPEN,
    OUTCOME,
    REPORTS,
    SEED,
    STATUS,
    TRIAL,
    Phase,
    Point,
    Run,
    Status,
    cut,
    run_name,
    translate,
)
from gansearch.tracking.views import (
    narrow_older_view,
    set_view,
    view_of_search,
    view_of_stability,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Samples: TypeAlias = "Callable[[int, int], Place | None]"
"""(trial number, step) -> the PNG of its sample grid, or None."""


class StudyRuns:
    """The runs of one phase of a study. Methods raise what MLflow raises.

    Args:
        phase: whose trials: the search's, or the stability study's, which have a configuration each.
        identity: tells the study from others of the same name in a shared store.
        artifacts: where a new experiment keeps its artifacts; None: the store's own choice.
        study_tags: set on the parent run.
        study_file: the resolved study as YAML.
        metric: the objective, whose running best each run shows.

    Attributes:
        answered: when MLflow last answered, by `time.monotonic`; 0: never.
    """

    def __init__(
        self,
        uri: str,
        study: str,
        *,
        identity: str,
        artifacts: str | None,
        study_tags: Mapping[str, str],
        study_file: str,
        samples: Samples,
        metric: str,
        goal: Goal,
        phase: Phase = "search",
    ) -> None:
        self.uri, self.study, self.identity, self.artifacts = uri, study, identity, artifacts
        self._phase = phase
        self._study_tags = {key: cut(value) for key, value in study_tags.items()}
        self._study_file, self._samples = study_file, samples
        self._metric, self._goal = metric, goal
        self._client: MlflowClient | None = None
        self.answered = 0.0
        self._experiment = ""
        self._parent = ""
        self._known: dict[int, Known] = {}
        self._configurations: dict[str, Known] = {}

    @property
    def connected(self) -> bool:
        """Whether `connect` has succeeded since the last `disconnect`."""
        return self._client is not None

    def connect(self) -> None:
        """Find or create the experiment and the parent run, and read what the other runs have."""
        client = open_client(self.uri)
        self._experiment = experiment_of(client, self.study, self.artifacts)
        self._note_answer()
        self._parent = self._find_parent(client)
        self._known = known_trials(client, self._heard(search(client, self._experiment, self._trials)))
        if self._phase == "stability":
            found = find_configurations(client, self._experiment, self._parent)
            self._configurations = known_configurations(client, self._heard(found), self._known)
        self._client = client

    def disconnect(self) -> None:
        """Forget all: after an error nobody knows what has arrived, so it is to be read again."""
        self._client = None

    def send(self, record: TrialRecord) -> str:
        """Make MLflow's run of a trial look like its record; returns the run's id."""
        wanted = self._wanted(record)
        known = self._known.get(wanted.number) or self._create(wanted)
        self._send_config(known, wanted, record)
        self._send_images(known, wanted)
        self._send_batches(known, wanted)
        self._send_name_and_status(known, wanted)
        return known.id

    def send_new(self, records: Sequence[TrialRecord]) -> dict[int, str]:
        """Those of the trials that MLflow has no runs of, all of them or none.

        Returns:
            their runs' ids by number; of the others, and of all where the store takes no more than one
            at a time, nothing.
        """
        new = [record for record in records if record.number not in self._known]
        if len(new) < 2 or not takes_many(self._mlflow, self._experiment):
            return {}
        wanted = [self._wanted(record) for record in new]
        runs = [
            NewRun(
                name=run.name,
                status=run.status,
                start_ms=run.start_ms or round(time.time() * 1000),
                end_ms=None if run.status in OPEN else run.end_ms or round(time.time() * 1000),
                tags=self._tags_of_all | run.tags,
                params=run.params,
                points=[
                    *run.points(0, self._metric, self._goal),
                    *run.result(self._metric, self._goal),
                ],
                config=write_document(record.config),
            )
            for run, record in zip(wanted, new, strict=True)
        ]
        ids = write_many(self._mlflow, self._experiment, runs)
        for run_id, run, made in zip(ids, wanted, runs, strict=True):
            known = Known(run_id, run.name, run.status, made.tags, set(run.params), set(), run.end_ms)
            self._known[run.number] = known
        for run in wanted:  # only now: were one to fail, the runs after it would be made once more
            self._send_images(self._known[run.number], run)
        return {run.number: run_id for run, run_id in zip(wanted, ids, strict=True)}

    def _wanted(self, record: TrialRecord) -> Run:
        wanted = translate(record)
        parent = self._parent if self._phase == "search" else self._configuration(wanted)
        return replace(wanted, tags={PARENT: parent, **wanted.tags})

    def set_parent_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the parent run."""
        for key, value in tags.items():
            self._mlflow.set_tag(self._parent, key, cut(value), synchronous=True)

    @property
    def labels(self) -> list[str]:
        """The configurations that MLflow has runs of, as it calls them."""
        return list(self._configurations)

    def lay_out(self, axes: list[str]) -> None:
        """Lay out the comparison view, with the axes, in which the trials differ, as columns.

        The search's is a table of its trials, best first. The stability study's is a table of its
        configurations, in the order of their rank once a report has been logged; each opens to show
        its seeds.
        """
        client, experiment, identity = self._mlflow, self._experiment, self.identity
        if self._phase == "search":
            self.set_parent_tags({"gansearch.axes": ", ".join(axes)})
            view = view_of_search(self._trials, axes, self._metric, self._goal)
        else:
            narrow_older_view(client, experiment, identity, self._parent)
            view = view_of_stability(self._trials, axes, self._metric, self.labels)
        set_view(client, experiment, identity, self._phase, view)

    def end(self, status: Status, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """End the parent run; a trial's run that is still going was interrupted."""
        for known in self._known.values():
            if known.status == "RUNNING":
                self._interrupt(known)
        for label, configuration in self._configurations.items():
            self._end_configuration(label, configuration, status)
        self.set_parent_tags(tags)
        for name, value in metrics.items():
            self._mlflow.log_metric(self._parent, name, value, synchronous=True)
        self._mlflow.set_terminated(self._parent, status)

    @property
    def _mlflow(self) -> MlflowClient:
        """The client. Each call asks for it anew, so that all calls before have been answered."""
        if self._client is None:
            raise RuntimeError("connect() comes first")
        self._note_answer()
        return self._client

    def _heard(self, runs: Iterable[Any]) -> Iterator[Any]:
        """Runs as MLflow sends them, a page at a time."""
        for run in runs:
            self._note_answer()
            yield run

    def _note_answer(self) -> None:
        self.answered = time.monotonic()

    def _find_parent(self, client: MlflowClient) -> str:
        tags = {STUDY: self.study, IDENTITY: self.identity, "mlflow.source.name": "gansearch"}
        run = find_parent(client, self._experiment, self.identity)
        if run is None:
            run = client.create_run(self._experiment, None, tags, self.study)
        parent = str(run.info.run_id)
        if run.info.status != "RUNNING":
            client.update_run(parent, status="RUNNING")
        for key, value in self._study_tags.items():
            if run.data.tags.get(key) != value:
                client.set_tag(parent, key, value, synchronous=True)
        if run.data.tags.get(STUDY_FILE) != (wanted := digest(self._study_file)):
            client.log_text(parent, self._study_file, "study.yaml")
            client.set_tag(parent, STUDY_FILE, wanted, synchronous=True)
        return parent

    @property
    def _trials(self) -> str:
        """The filter by which MLflow finds this phase's trials."""
        if self._phase == "search":
            return trials_of_search(self._parent)
        return trials_again(self._parent)

    def _configuration(self, wanted: Run) -> str:
        """The id of the run of a seed's configuration, which goes on if the seed does."""
        label = wanted.tags[CONFIGURATION]
        known = self._configurations.get(label)
        if known is None:
            known = self._create_run(label, {PARENT: self._parent, CONFIGURATION: label}, wanted)
            self._configurations[label] = known
        params = {name: value for name, value in wanted.params.items() if name != "seed"}
        self._log(known, [], params, {})
        if wanted.status == "RUNNING" != known.status:
            self._mlflow.update_run(known.id, "RUNNING")
            known.status = "RUNNING"
        return known.id

    def _end_configuration(self, label: str, known: Known, status: Status) -> None:
        """Finished is what has no interrupted seed and was not going on in a study that stops."""
        seeds = [seed for seed in self._known.values() if seed.tags.get(CONFIGURATION) == label]
        whole = all(seed.tags.get(OUTCOME) != Outcome.INTERRUPTED.value for seed in seeds)
        wanted = "FINISHED" if whole and "FINISHED" in (status, known.status) else "KILLED"
        if known.status != wanted:
            ends = [seed.end_ms for seed in seeds if seed.end_ms is not None]
            self._mlflow.set_terminated(known.id, wanted, max(ends, default=None))
            known.status = wanted

    def _create(self, wanted: Run) -> Known:
        names = (PARENT, TRIAL, CONFIGURATION, SEED)
        tags = {name: wanted.tags[name] for name in names if name in wanted.tags}
        known = self._create_run(wanted.name, tags, wanted)
        known.images = set()
        self._known[wanted.number] = known
        return known

    def _create_run(self, name: str, tags: dict[str, str], wanted: Run) -> Known:
        tags = self._tags_of_all | tags
        run = self._mlflow.create_run(
            self._experiment, start_time=wanted.start_ms, tags=tags, run_name=name
        )
        return Known(run.info.run_id, name, "RUNNING", tags)

    @property
    def _tags_of_all(self) -> dict[str, str]:
        tags = {STUDY: self.study, "mlflow.source.name": "gansearch"}
        return tags | (
            {PART: self._phase, STUDY_RUN: self._parent} if self._phase == "stability" else {}
        )

    def _send_config(self, known: Known, wanted: Run, record: TrialRecord) -> None:
        if known.tags.get(CONFIG) != wanted.tags[CONFIG]:
            self._mlflow.log_text(known.id, write_document(record.config), "config.yaml")

    def _send_images(self, known: Known, wanted: Run) -> None:
        for report in wanted.reports:
            if known.images and report.step in known.images:
                continue
            path = self._samples(wanted.number, report.step)
            if path is None:
                continue
            if known.images is None:
                known.images = listed_images(self._mlflow, known.id)
            if report.step not in known.images:
                send_image(self._mlflow, known.id, path, report.step, round(report.time * 1000))
                known.images.add(report.step)

    def _send_batches(self, known: Known, wanted: Run) -> None:
        sent = int(known.tags.get(REPORTS, "0"))
        first = sent if sent <= len(wanted.reports) else 0  # the journal may have lost its last line
        points = wanted.points(first, self._metric, self._goal)
        if known.tags.get(OUTCOME) != wanted.tags[OUTCOME]:
            points += wanted.result(self._metric, self._goal)
        self._log(known, points, wanted.params, wanted.tags)
        known.end_ms = wanted.end_ms

    def _log(
        self,
        known: Known,
        points: Sequence[Point],
        wanted_params: Mapping[str, str],
        wanted_tags: Mapping[str, str],
    ) -> None:
        """Send points, and those params and tags that a run does not have."""
        params = {k: v for k, v in wanted_params.items() if k not in known.params}
        tags = {k: v for k, v in wanted_tags.items() if known.tags.get(k) != v}
        for batch in batches(points, params, tags):
            self._mlflow.log_batch(known.id, **batch, synchronous=True)
        known.params |= set(wanted_params)
        known.tags |= wanted_tags

    def _send_name_and_status(self, known: Known, wanted: Run) -> None:
        """A paused run, SCHEDULED, has not ended: `set_terminated` would say when."""
        moves = wanted.status in OPEN and wanted.status != known.status
        if known.name != wanted.name or moves:
            self._mlflow.update_run(known.id, wanted.status if moves else None, wanted.name)
        if wanted.status not in (*OPEN, known.status):
            self._mlflow.set_terminated(known.id, wanted.status, wanted.end_ms)
        known.name, known.status = wanted.name, wanted.status

    def _interrupt(self, known: Known) -> None:
        outcome = Outcome.INTERRUPTED
        for tag in (OUTCOME, NOTE):
            self._mlflow.set_tag(known.id, tag, outcome.value, synchronous=True)
            known.tags[tag] = outcome.value
        name = run_name(known.tags)
        self._mlflow.update_run(known.id, name=name)
        self._mlflow.set_terminated(known.id, STATUS[outcome], known.end_ms)
        known.name, known.status = name, STATUS[outcome]
