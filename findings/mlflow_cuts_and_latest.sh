#!/usr/bin/env bash
# mlflow 3.17.2, its SQLite store: what is stored is not always what was logged.
#
# - A parameter of more than 6,000 characters (a configuration as JSON) is cut to 6,000, without a warning or
#   an error, by MLFLOW_TRUNCATE_LONG_VALUES, which is on by default.
# - Of several values of one metric at one step and timestamp (a report that is sent again after a restart)
#   `run.data.metrics`, by which the UI sorts, shows the LARGEST, not the last.
# - Metric names that papers use are refused: `FID@5k`, `acc(real)`, `a+b`, `k=5`.
#
# Output seen:
#   7,000 characters logged, 6,000 stored
#   logged 3.0 then 1.0, latest is 3.0
#   refused: FID@5k acc(real) a+b k=5
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'mlflow==3.17.2' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import os, sys
import mlflow
from mlflow.exceptions import MlflowException

mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("e", artifact_location=f"file://{sys.argv[1]}/a")).info.run_id
client.log_param(run, "config", "x" * 7000)
for value in (3.0, 1.0):
    client.log_metric(run, "fid", value, timestamp=1, step=0)
refused = []
for name in ("FID@5k", "acc(real)", "a+b", "k=5"):
    try:
        client.log_metric(run, name, 1.0)
    except MlflowException:
        refused.append(name)
data = client.get_run(run).data
print(f"7,000 characters logged, {len(data.params['config']):,} stored")
print(f"logged 3.0 then 1.0, latest is {data.metrics['fid']}")
print("refused:", *refused)
raise SystemExit(not (len(data.params["config"]) == 6000 and data.metrics["fid"] == 3.0 and len(refused) == 4))
PY
"$folder/venv/bin/python" "$folder/try.py" "$folder" 2>/dev/null
