#!/usr/bin/env bash
# ray[tune] 2.60.0.
#
# `ExperimentPlateauStopper` ends a search when the best values stand still "across trials"; `top` is "the number of best
# models to consider". It counts reports, not models: ten reports of one training are its ten best models, and where they lie
# within `std` (0.001 by default, about what a KID differs by from one report to the next) the first training that
# converges ends the whole search, with all other configurations untried. A NaN, on the other hand, which Python's `sorted` may
# leave among the best, stays there, and the search is never ended, however still it stands.
#
# Output seen (six configurations, one at a time, whose KIDs end at 0.030 to 0.020; the first is the worst):
#   reports of the search, ended by itself: 17 of 180, of configurations: 1 of 6
#   100 times 0.1: ended at report 10
#   0.5, NaN and 100 times 0.1: not ended
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 2>/dev/null
cat > "$folder/plateau.py" <<'PY'
import math
import os
import sys
import warnings

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
warnings.simplefilter("ignore")
import ray
from ray import tune
from ray.tune.stopper import ExperimentPlateauStopper


def train(config):
    for step in range(30):
        tune.report({"kid": config["kid"] + 0.1 * math.exp(-step / 2)})


def ended(values):
    """At which of some reports a stopper ends a search; None: at none."""
    stopper = ExperimentPlateauStopper("kid", mode="min")
    return next((number for number, kid in enumerate(values, 1) if stopper("trial", {"kid": kid})), None)


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
results = tune.Tuner(
    train,
    param_space={"kid": tune.grid_search([0.030, 0.028, 0.026, 0.024, 0.022, 0.020])},
    tune_config=tune.TuneConfig(metric="kid", mode="min"),
    run_config=tune.RunConfig(
        storage_path=sys.argv[1], name="study", verbose=0, stop=ExperimentPlateauStopper("kid", mode="min")
    ),
).fit()
counts = [result.metrics["training_iteration"] for result in results if result.metrics and "kid" in result.metrics]
print(f"reports of the search, ended by itself: {sum(counts)} of 180, of configurations: {len(counts)} of 6")
still, with_nan = ended([0.1] * 100), ended([0.5, math.nan] + [0.1] * 100)
print(f"100 times 0.1: ended at report {still}")
print("0.5, NaN and 100 times 0.1:", "not ended" if with_nan is None else f"ended at report {with_nan}")
raise SystemExit(not (len(counts) == 1 and sum(counts) < 30 and still == 10 and with_nan is None))
PY
"$folder/venv/bin/python" "$folder/plateau.py" "$folder/runs" 2>/dev/null | grep -E '^(reports|100|0.5)'
