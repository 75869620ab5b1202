#!/usr/bin/env bash
# ray[tune] 2.60.0.
#
# `ResultGrid.get_best_result("fid", "min", scope="all")` is to find the trial with the lowest FID of all its reports, whatever
# came afterwards; NaN is filtered by default. Tune keeps each trial's extremes as it goes, by Python's `min(new, old)`: a NaN
# takes their place, and the next number the NaN's. So a trial that measured NaN once (few samples, a step that exploded and
# was overcome) is judged by what came after it alone, and the best of the study is passed over. Its mean, for the other
# scopes, is NaN from there on, and the trial is left out.
# `scope="avg"` is no mean either where a metric is not in each report, as a FID is not: it weighs by the count of reports.
#
# Output seen (FIDs by report; `-`: a report without one):
#   10 3 nan 8:  to Tune at best 8.0, on average nan
#   9 7 7 7:     to Tune at best 7.0, on average 7.5
#   - 40 - 10:   to Tune at best 10.0, on average 32.5
#   the best by Tune, of all reports: 9 7 7 7
#   the lowest FID in Tune's own tables: 10 3 nan 8
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 2>/dev/null
cat > "$folder/best.py" <<'PY'
import os
import sys
import warnings

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
warnings.simplefilter("ignore")
import ray
from ray import tune

CURVES = ("10 3 nan 8", "9 7 7 7", "- 40 - 10")


def train(config):
    for fid in config["curve"].split():
        tune.report({"loss": 1.0} | ({} if fid == "-" else {"fid": float(fid)}))


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
place = tune.RunConfig(storage_path=sys.argv[1], name="study", verbose=0)
results = tune.Tuner(train, param_space={"curve": tune.grid_search(list(CURVES))}, run_config=place).fit()
kept = {trial.config["curve"]: trial.metric_analysis["fid"] for trial in results._experiment_analysis.trials}
for curve in CURVES:
    print(f"{curve + ':':12} to Tune at best {kept[curve]['min']}, on average {kept[curve]['avg']}")
best = results.get_best_result("fid", "min", scope="all").config["curve"]
lowest = min(results, key=lambda result: result.metrics_dataframe["fid"].min()).config["curve"]
print("the best by Tune, of all reports:", best)
print("the lowest FID in Tune's own tables:", lowest)
as_seen = kept[CURVES[0]]["min"] == 8 and kept[CURVES[2]]["avg"] == 32.5
raise SystemExit(not (as_seen and (best, lowest) == (CURVES[1], CURVES[0])))
PY
"$folder/venv/bin/python" "$folder/best.py" "$folder/runs" 2>/dev/null | grep -E 'Tune'
