"""Study, configuration, seed: the stability study beside its search, on one real SQLite store."""

import json
import re
import sys
from collections import Counter

import pytest

from gansearch.errors import UserError
from gansearch.study.records import Outcome
from gansearch.tracking import comparison_url, default_store, log_report, sync
from gansearch.tracking.client import open_client
from gansearch.tracking.runs import StudyRuns
from gansearch.tracking.views import LONGEST_VIEW

from .helpers import STUDY, picture, seed, trial, until

SEARCH = [trial(n) for n in range(3)]
VIEW = "mlflow.sharedViewState."


@pytest.fixture
def uri(runs_dir):
    return default_store(runs_dir)[0]


def seeds(outcomes=(Outcome.COMPLETED, Outcome.DIVERGED, Outcome.COMPLETED, Outcome.COMPLETED)):
    """Two seeds of each of two configurations, in turns."""
    chosen = [("trial 1", 11, "hinge"), ("default", 21, "minimax")]
    chosen += [("trial 1", 12, "hinge"), ("default", 22, "minimax")]
    rows = zip(chosen, outcomes, strict=True)
    return [seed(n, *which, outcome, loss=loss) for n, ((*which, loss), outcome) in enumerate(rows)]


def experiment(uri):
    return open_client(uri).get_experiment_by_name(STUDY)


def shown(uri, phase="search"):
    """The phase's view as laid out, and the names of the runs that MLflow then shows, in order."""
    address = comparison_url("http://127.0.0.1:5000", uri, STUDY, phase=phase)
    view = json.loads(experiment(uri).tags[VIEW + re.search(r"viewStateShareKey=([\w-]+)", address)[1]])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    where = view["searchFilter"]
    found = open_client(uri).search_runs([experiment(uri).experiment_id], where, order_by=[order])
    return view, [run.info.run_name for run in found]


def test_configurations_are_below_the_study_and_seeds_below_them(tracker, uri):
    mirror = tracker(phase="stability")
    assert sync(mirror, seeds(), "FINISHED") == 0
    seen = picture(uri)
    names = ["completed, seed 11", "diverged, seed 21", "completed, seed 12", "completed, seed 22"]
    assert set(seen) == {STUDY, "trial 1", "default", *names}
    assert mirror.run_ids() == {n: seen[name]["id"] for n, name in enumerate(names)}
    parents = {name: run["tags"].get("mlflow.parentRunId") for name, run in seen.items()}
    assert parents["trial 1"] == parents["default"] == seen[STUDY]["id"]
    assert parents["completed, seed 11"] == parents["completed, seed 12"] == seen["trial 1"]["id"]
    assert parents["diverged, seed 21"] == parents["completed, seed 22"] == seen["default"]["id"]

    configuration, one = seen["trial 1"], seen["completed, seed 11"]
    assert {seen[name]["status"] for name in ("trial 1", "default", STUDY)} == {"FINISHED"}
    assert configuration["tags"]["gansearch.configuration"] == "trial 1"
    assert configuration["tags"]["gansearch.part"] == one["tags"]["gansearch.part"] == "stability"
    assert one["params"] == configuration["params"] | {"seed": "11"}
    assert one["files"] == ["config.yaml", "images"]
    assert (configuration["times"][0], configuration["times"][1]) == one["times"]


def test_what_mlflow_averages_has_no_failure_in_it_as_a_number(tracker, uri):
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    seen = picture(uri)
    points = {
        name: {k: v for k, _, v, _ in run["points"] if k in ("success", "confirmed.fd")}
        for name, run in seen.items()
    }
    assert points["completed, seed 22"] == {"success": 1.0, "confirmed.fd": pytest.approx(1000 / 300)}
    assert points["diverged, seed 21"] == {"success": 0.0}


def test_the_view_groups_the_seeds_by_configuration(tracker, uri):
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    view, names = shown(uri, "stability")
    group = {"mode": "tag", "groupByData": "gansearch.configuration"}
    assert view["groupBy"] == {"aggregateFunction": "average", "groupByKeys": [group]}
    assert view["groupsExpanded"] == {
        "tag.gansearch.configuration.trial 1": False,
        "tag.gansearch.configuration.default": False,
    }
    assert {"metrics.`rank`", "metrics.`confirmed.fd`"} < set(view["selectedColumns"])
    assert view["selectedColumns"][-1] == "params.`loss.name`"
    # The configurations' own runs are not among them: MLflow would count each as one more seed.
    assert set(names) == set(picture(uri)) - {STUDY, "trial 1", "default"}


def test_the_groups_stand_in_the_order_of_a_reports_ranking(tracker, uri):
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    ranks = {"trial 1": {"rank": 2, "iqm": 4.0}, "default": {"rank": 1, "iqm": 3.5, "mean": 9.0}}
    for _ in range(2):  # the second time there is nothing new
        log_report(uri, STUDY, summaries=ranks)
        _, names = shown(uri, "stability")
        assert [name[-2:] for name in names[:2]] in (["21", "22"], ["22", "21"])
    points = picture(uri)["completed, seed 22"]["points"]
    told = {key: value for key, _, value, _ in points if key in ("rank", "iqm", "mean", "success")}
    assert told == {"rank": 1.0, "iqm": 3.5, "success": 1.0}
    assert sum(key == "rank" for key, *_ in points) == 1
    log_report(uri, STUDY, summaries={"trial 1": {"rank": 1}})
    assert shown(uri, "stability")[1][0][-2:] in ("11", "12")


def test_a_view_of_many_configurations_stays_within_mlflows_limit(runs_dir, monkeypatch):
    runs = study_runs(default_store(runs_dir)[0])
    runs.connect()
    monkeypatch.setattr(
        StudyRuns, "labels", [f"trial {n}: optimizer.generator.lr x 1.5" for n in range(99)]
    )
    runs.lay_out(["loss.name"])
    (view,) = (value for key, value in experiment(runs.uri).tags.items() if key.startswith(VIEW))
    assert len(view) <= LONGEST_VIEW
    assert "groupsExpanded" not in json.loads(view)
    assert json.loads(view)["columnOrder"]


def test_a_view_of_many_axes_stays_within_it_too(runs_dir):
    runs = study_runs(default_store(runs_dir)[0])
    runs.connect()
    runs.lay_out([f"generator.an_option_with_a_long_name_{n}" for n in range(200)])
    (view,) = (value for key, value in experiment(runs.uri).tags.items() if key.startswith(VIEW))
    assert len(view) <= LONGEST_VIEW
    columns = json.loads(view)["selectedColumns"]
    assert columns[1] == "metrics.`rank`"
    assert "params.`generator.an_option_with_a_long_name_0`" in columns


def test_there_is_no_address_of_what_is_not_there(tracker, uri):
    sync(tracker(), SEARCH, "FINISHED")
    with pytest.raises(UserError, match="no stability of study"):
        comparison_url("http://127.0.0.1:5000", uri, STUDY, phase="stability")


def test_doing_it_again_changes_nothing(tracker, uri):
    outcomes = [Outcome.COMPLETED, Outcome.INTERRUPTED, Outcome.FAILED, Outcome.COMPLETED]
    assert sync(tracker(phase="stability"), seeds(outcomes), "KILLED") == 0
    before = picture(uri)
    assert sync(tracker(phase="stability"), seeds(outcomes), "KILLED") == 0
    after = picture(uri)
    before.pop(STUDY), after.pop(STUDY)
    assert after == before


def test_search_and_stability_study_do_not_see_each_other(tracker, uri):
    """Both have trials 0 to 2, and each tracker begins anew with what MLflow has."""
    for _ in range(2):
        assert sync(tracker(), SEARCH, "FINISHED") == 0
        searched = {run.name: run.tags for run in of_search(uri)}
        assert sync(tracker(phase="stability"), seeds(), "FINISHED") == 0
        assert {run.name: run.tags for run in of_search(uri)} == searched
    seen = picture(uri)  # which sees to it that no run is there twice
    assert len(seen) == 1 + 3 + 2 + 4
    assert {len(seen[f"{n:04d} completed"]["points"]) for n in range(3)} == {3 * 6}
    assert seen[STUDY]["tags"]["gansearch.axes"] == "loss.name"
    assert sorted(shown(uri)[1]) == [f"{n:04d} completed" for n in range(3)]
    assert not {run.name for run in of_search(uri)} & set(shown(uri, "stability")[1])


def of_search(uri):
    found = open_client(uri).search_runs(
        [experiment(uri).experiment_id], "tags.`gansearch.trial` != ''"
    )
    return [Named(run) for run in found if "gansearch.part" not in run.data.tags]


class Named:
    def __init__(self, run):
        self.name, self.tags = run.info.run_name, dict(run.data.tags)


def test_a_view_of_the_search_from_before_is_narrowed(tracker, uri):
    sync(tracker(), SEARCH, "FINISHED")
    client, tags = open_client(uri), experiment(uri).tags
    (key,) = (key for key in tags if key.startswith(VIEW))
    older = {"searchFilter": f"tags.`mlflow.parentRunId` = '{picture(uri)[STUDY]['id']}'"}
    view = json.loads(tags[key]) | older
    client.set_experiment_tag(experiment(uri).experiment_id, key, json.dumps(view))
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    after, names = shown(uri)
    assert {k: v for k, v in after.items() if k != "searchFilter"} == {
        k: v for k, v in view.items() if k != "searchFilter"
    }
    assert sorted(names) == [f"{n:04d} completed" for n in range(3)]


def test_an_interrupted_configuration_is_killed_and_goes_on(tracker, uri):
    def statuses():
        seen = picture(uri)
        return [seen[name]["status"] for name in ("trial 1", "default", STUDY)]

    records = seeds([Outcome.COMPLETED, Outcome.RUNNING, Outcome.COMPLETED, Outcome.COMPLETED])
    assert sync(tracker(phase="stability"), records, "KILLED") == 0
    assert "interrupted, seed 21" in picture(uri)
    assert statuses() == ["KILLED", "KILLED", "KILLED"]

    mirror = tracker(phase="stability")
    mirror.submit(records[1])
    until(lambda: "seed 21" in picture(uri))
    until(lambda: not mirror.unsent())
    assert statuses() == ["KILLED", "RUNNING", "RUNNING"]
    records[1].outcome = Outcome.COMPLETED
    mirror.submit(records[1])
    assert mirror.finish("FINISHED") == 0
    assert statuses() == ["FINISHED", "FINISHED", "FINISHED"]

    records.append(seed(4, "trial 1", 13, Outcome.RUNNING))
    assert sync(tracker(phase="stability"), records, "KILLED") == 0
    assert statuses() == ["KILLED", "FINISHED", "KILLED"]


def test_a_configuration_made_twice_is_made_one(tracker, uri):
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    before = picture(uri)
    client = open_client(uri)
    tags = {key: before["default"]["tags"][key] for key in before["default"]["tags"] if "." in key}
    client.create_run(experiment(uri).experiment_id, start_time=1, tags=tags)  # and it is the older
    sync(tracker(phase="stability"), [], "FINISHED")
    after = picture(uri)
    before.pop(STUDY), after.pop(STUDY)
    assert after == before


def test_seeds_follow_their_configuration(tracker, uri):
    """As where somebody has deleted its run."""
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    before = picture(uri)
    open_client(uri).delete_run(before["default"]["id"])
    sync(tracker(phase="stability"), seeds(), "FINISHED")
    after = picture(uri)
    assert set(after) == set(before)
    assert after["default"]["id"] != before["default"]["id"]
    assert after["completed, seed 22"]["tags"]["mlflow.parentRunId"] == after["default"]["id"]
    assert after["completed, seed 22"]["id"] == before["completed, seed 22"]["id"]
    assert after["default"]["params"] == before["default"]["params"]


def test_odd_labels(tracker, uri):
    labels = ["a'b\"c`d", "line\nbreak", "Größe \U0001f600 %", "x" * 9000 + "1", "x" * 9000 + "2", " "]
    records = [seed(n, label, n) for n, label in enumerate(labels)]
    for _ in range(2):
        assert sync(tracker(phase="stability"), records, "FINISHED") == 0
    found = open_client(uri).search_runs([experiment(uri).experiment_id])
    assert len(found) == 1 + 2 * len(labels)
    counts = Counter(run.data.tags.get("gansearch.configuration") for run in found)
    assert sorted(counts.values()) == [1] + [2] * len(labels)
    assert labels[0] in counts
    assert labels[1] in counts
    assert labels[2] in counts


class Killed(BaseException):
    """As a signal: nothing of the process runs on."""


class Watched:
    """A client that counts its writes, and dies before the one that is given."""

    def __init__(self, client, last=None):
        self.client, self.last, self.writes = client, last, Counter()

    def __getattr__(self, name):
        method = getattr(self.client, name)
        if name.startswith(("get_", "search_", "list_")):
            return method

        def write(*args, **kwargs):
            if self.writes.total() == self.last:
                raise Killed
            self.writes[name] += 1
            return method(*args, **kwargs)

        return write


def study_runs(uri, study=STUDY, phase="stability"):
    return StudyRuns(
        uri,
        study,
        identity=study,
        artifacts=uri.removeprefix("sqlite:///") + "-artifacts",
        study_tags={"gansearch.version": "0"},
        study_file="question: which loss?\n",
        samples=lambda number, step: None,
        metric="fd",
        goal="min",
        phase=phase,
    )


def session(runs):
    runs.connect()
    for record in (seed(0, "default", 5), seed(1, "default", 6, Outcome.COLLAPSED)):
        runs.send(record)
    runs.lay_out([])
    runs.end("FINISHED", {"summary": "done"}, {})


def lasting(seen, study):
    """What does not depend on when a run was made."""
    names = {run["id"]: name for name, run in seen.items()}
    for run in seen.values():
        for tag in ("mlflow.parentRunId", "gansearch.study_run"):
            run["tags"][tag] = names.get(run["tags"].get(tag), "").replace(study, "")
        run["tags"] = {k: v for k, v in run["tags"].items() if study not in v}
        del run["id"], run["times"]
    return {name.replace(study, ""): run for name, run in seen.items()}


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_of_its_writes_it_is_complete_in_the_end(uri, monkeypatch, every):
    watched = Watched(open_client(uri))
    monkeypatch.setattr(sys.modules[StudyRuns.__module__], "open_client", lambda uri: watched)
    session(study_runs(uri, "whole"))
    expected = lasting(picture(uri, "whole"), "whole")
    count = watched.writes.total()
    assert count > 15
    for last in range(0, count, every):
        watched = Watched(open_client(uri), last)
        with pytest.raises(Killed):
            session(study_runs(uri, f"killed-{last}"))
        watched = Watched(open_client(uri))
        session(study_runs(uri, f"killed-{last}"))
        assert lasting(picture(uri, f"killed-{last}"), f"killed-{last}") == expected, last


def test_a_seed_costs_what_a_trial_costs(uri, monkeypatch):
    def cost(phase, record):
        runs = study_runs(uri, phase, phase=phase)
        runs.connect()
        runs.send(seed(0, "default", 5) if phase == "stability" else trial(0))
        before = watched.writes.copy()
        runs.send(record)
        return watched.writes - before

    watched = Watched(open_client(uri))
    monkeypatch.setattr(sys.modules[StudyRuns.__module__], "open_client", lambda uri: watched)
    assert cost("stability", seed(1, "default", 6)) == cost("search", trial(1))
