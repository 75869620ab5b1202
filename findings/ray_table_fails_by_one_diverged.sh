#!/usr/bin/env bash
# ray[tune] 2.60.0 with pandas 3.1.1.
#
# `ResultGrid.get_dataframe(filter_metric=, filter_mode=)` gives one row a trial, where the metric was best. For a trial that
# never had a finite value (a GAN that diverged before its first evaluation) Ray counts on `idxmin` to give NaN, to leave
# the trial out with a warning. Since pandas 3 `idxmin` of nothing but NaN raises: one diverged trial among any number, and
# there is no table at all. `ray[tune]` allows pandas 3, and installs it. Without a filter, and by `get_best_result`,
# the same trials are read without trouble.
#
# Output seen:
#   rows without a filter: 3
#   the best trial: lr 0.1
#   the table of the best rows: ValueError
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 'pandas==3.1.1' 2>/dev/null
cat > "$folder/table.py" <<'PY'
import math
import sys
import warnings

warnings.simplefilter("ignore")
import ray
from ray import tune


def train(config):
    for step in range(3):
        tune.report({"fid": 10.0 - step if config["lr"] < 0.5 else math.nan})


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
place = tune.RunConfig(name="study", storage_path=sys.argv[1], verbose=0)
results = tune.Tuner(train, param_space={"lr": tune.grid_search([0.1, 0.2, 0.9])}, run_config=place).fit()
rows = len(results.get_dataframe())
best = results.get_best_result("fid", "min").config["lr"]
try:
    seen = f"{len(results.get_dataframe(filter_metric='fid', filter_mode='min'))} rows"
except ValueError as error:
    seen = type(error).__name__
print(f"rows without a filter: {rows}", f"the best trial: lr {best}", f"the table of the best rows: {seen}", sep="\n")
raise SystemExit(not (rows == 3 and best in (0.1, 0.2) and seen == "ValueError"))
PY
"$folder/venv/bin/python" "$folder/table.py" "$folder/runs" 2>/dev/null | grep -E '^(rows|the)'
