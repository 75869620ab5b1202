"""Points on a line and in a plane through the whole product, from the file to the samples."""

import pytest
import yaml
from PIL import Image

import gansearch
from gansearch.study.records import Outcome
from gansearch.tuning.connection import connected

STUDY = """
question: Does it find the modes?
data: {name: DATA, samples: 2000}
generator: {name: mlp, depth: 2, width: 32, norm: none}
discriminator: {name: mlp, depth: 2, width: 32, norm: none}
optimizer:
  generator: {lr: {choice: [1e-3, 1e+6]}}
  discriminator: {lr: 1e-3}
batch_size: 64
latent_size: 2
budget: {steps: 120, report_every: 40}
evaluation: {samples: 200, metrics: METRICS}
objective: {metric: fd_raw, goal: min}
search: {trials: 3, sampler: random, seed: 3}
pruner: none
stability: {top: 1, seeds: 2, default: false}
resources: {lanes: 1}
"""

MIXTURE = ("modes", "high_quality", "reverse_kl")


@pytest.fixture(scope="module")
def ray():
    """One Ray for all the studies of this process."""
    with connected(None) as ray:
        yield ray


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("data", "axes", "metrics"),
    [
        ("ring", 2, MIXTURE),
        pytest.param("grid", 2, MIXTURE, marks=pytest.mark.slow),
        pytest.param("dirac", 1, (), marks=pytest.mark.slow),
    ],
)
def test_a_study_of_points_from_the_file_to_the_samples(
    data, axes, metrics, tmp_path, monkeypatch, ray
):
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace("METRICS", str(["fd_raw", *metrics]).replace("'", ""))
    text = text.replace("DATA, samples: 2000", data if data == "dirac" else f"{data}, samples: 2000")
    (tmp_path / "points.yaml").write_text(text)
    assert gansearch.check("points.yaml") > 0
    result = gansearch.run("points.yaml", concurrency=1)

    outcomes = {r.config["optimizer"]["generator"]["lr"]: r.outcome for r in result.evidence.search}
    assert outcomes == {1e-3: Outcome.COMPLETED, 1e6: Outcome.DIVERGED}, "health rules judge points"
    best = result.evidence.search[result.trials.index[0]]
    assert {"fd_raw", *metrics} <= best.last.metrics.keys()
    assert best.provenance["fd_raw"]["dataset"] == data
    if metrics:
        assert 0 <= best.last.metrics["modes"] <= 25
    assert list(result.configurations["successes"]) == [2]

    from gansearch.tracking.client import open_client

    client = open_client(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("points").experiment_id])
    [run] = [run for run in found if run.info.run_id == best.mlflow_run_id]
    assert run.data.metrics["fd_raw"] == best.last.metrics["fd_raw"]
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert sum("%step%" in path or "+step+" in path for path in pictures) >= 3
    with Image.open(client.download_artifacts(run.info.run_id, pictures[0])) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 2, "generated beside real points"

    page = gansearch.report("points").html.read_text()
    assert "Does it find the modes?" in page
    assert "fd_raw" in page
    assert "image" not in page.partition("<h2")[2].partition("</h2")[0].lower()

    gansearch.export("points", "best")
    config = yaml.safe_load((tmp_path / "best" / "config.yaml").read_text())
    assert config["data"]["name"] == data
    drawn = gansearch.sample("best", "drawn.npy", count=50, seed=1)
    import numpy as np

    assert np.load(drawn).shape == (50, axes)
    gansearch.sample("best", "drawn.png", count=50)
    with Image.open("drawn.png") as picture:
        assert min(picture.size) > 50
