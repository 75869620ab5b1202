"""Records as a study makes them, and what MLflow shows of them."""

import time
from collections.abc import Callable

from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.tracking.client import open_client

STUDY = "digits-losses"
START = 1_750_000_000.0


def report(step: int, outcome: Outcome | None = None, **metrics: float) -> Report:
    values = {"fd": 1000.0 / step, "loss.d": 1.0, **metrics}
    return Report(step, step * 64, step / 10, values, START + step / 10, outcome)


def trial(
    number: int, steps: int = 3, outcome: Outcome = Outcome.COMPLETED, reason: str = ""
) -> TrialRecord:
    tree = {"seed": number, "loss": {"name": ("hinge", "minimax")[number % 2]}, "ema": None}
    config = TrialConfig.model_validate(tree).plain()
    reports = [report(100 * (i + 1)) for i in range(steps)]
    origin = {"fd": {"features": "classifier", "samples": 1000}}
    return TrialRecord(number, {}, config, outcome, reason, reports, origin)


def seed(
    number: int,
    configuration: str,
    seed: int,
    outcome: Outcome = Outcome.COMPLETED,
    steps: int = 3,
    loss: str = "hinge",
) -> TrialRecord:
    """A trial of a stability study."""
    record = trial(number, steps, outcome)
    record.configuration = configuration
    record.config |= {"seed": seed}
    record.config["loss"]["name"] = loss
    return record


def picture(uri: str, study: str = STUDY) -> dict[str, dict]:
    """All that MLflow shows of the study, by run name; a run twice is an error."""
    client = open_client(uri)
    found = client.get_experiment_by_name(study)
    seen: dict[str, dict] = {}
    if found is None:  # MLflow's file is there, and the experiment not yet
        return seen
    for run in client.search_runs([found.experiment_id]):
        assert run.info.run_name not in seen, "one run per trial"
        seen[run.info.run_name] = {
            "id": run.info.run_id,
            "status": run.info.status,
            "tags": dict(run.data.tags),
            "params": dict(run.data.params),
            "points": sorted(
                (m.key, m.step, m.value, m.timestamp)
                for key in run.data.metrics
                for m in client.get_metric_history(run.info.run_id, key)
            ),
            "times": (run.info.start_time, run.info.end_time),
            "files": sorted(f.path for f in client.list_artifacts(run.info.run_id)),
            "images": sorted(f.path for f in client.list_artifacts(run.info.run_id, "images")),
        }
    return seen


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
