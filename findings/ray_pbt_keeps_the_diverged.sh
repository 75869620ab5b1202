#!/usr/bin/env bash
# ray[tune] 2.60.0.
#
# Population based training replaces the worst of a population by copies of the best; GANs are among the examples of its
# paper. To Ray a member whose score is NaN is not the worst: it is in no quantile, so that it is never replaced, never
# gets other hyperparameters, and uses its resources to the end of the study, while finite members are replaced.
#
# A second guess that fails: `tune.uniform(0.6, 0.8)` as a mutation bounds only what is drawn anew. What is perturbed is
# multiplied by 1.2 or 0.8, also out of that range; as Adam's beta1 it may be over 1, which torch refuses.
#
# Output seen:
#   begun as slow usual fast fragile, at the end: fast fast fast fragile
#   fragile's last score: nan, its beta: 0.7 as at first
#   beta at the end lies outside 0.6 to 0.8: True
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 2>/dev/null
cat > "$folder/population.py" <<'PY'
import math
import random
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import numpy
import ray
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

GAIN = {"slow": 1.0, "usual": 2.0, "fast": 3.0, "fragile": 4.0}


class Training(tune.Trainable):
    def setup(self, config):
        self.fid = 100.0

    def reset_config(self, config):
        self.fid = 100.0
        return True

    def step(self):
        diverged = self.config["name"] == "fragile" and self.iteration > 2
        self.fid = math.nan if diverged else self.fid - GAIN[self.config["name"]]
        return {"fid": self.fid}

    def save_checkpoint(self, folder):
        Path(folder, "fid").write_text(str(self.fid))

    def load_checkpoint(self, folder):
        self.fid = float(Path(folder, "fid").read_text())


random.seed(0)
numpy.random.seed(0)
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
population = PopulationBasedTraining(
    time_attr="training_iteration",
    perturbation_interval=2,
    hyperparam_mutations={"beta": tune.uniform(0.6, 0.8)},
    resample_probability=0,
    quantile_fraction=0.5,
    synch=True,
)
results = tune.Tuner(
    Training,
    param_space={"name": tune.grid_search(list(GAIN)), "beta": 0.7},
    tune_config=tune.TuneConfig(metric="fid", mode="min", scheduler=population, reuse_actors=True),
    run_config=tune.RunConfig(name="study", storage_path=sys.argv[1], verbose=0, stop={"training_iteration": 20}),
).fit()
names = [result.config["name"] for result in results]
fragile = results[names.index("fragile")] if "fragile" in names else None
outside = any(not 0.6 <= result.config["beta"] <= 0.8 for result in results)
print("begun as", *GAIN, end=", at the end: ")
print(*names)
if fragile:
    print(f"fragile's last score: {fragile.metrics['fid']}, its beta: {fragile.config['beta']} as at first")
print("beta at the end lies outside 0.6 to 0.8:", outside)
as_seen = fragile and math.isnan(fragile.metrics["fid"]) and fragile.config["beta"] == 0.7 and names[:3] == ["fast"] * 3
raise SystemExit(not (as_seen and outside))
PY
"$folder/venv/bin/python" "$folder/population.py" "$folder/runs" 2>/dev/null | grep -E '^(begun|fragile|beta)'
