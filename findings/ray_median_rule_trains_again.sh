#!/usr/bin/env bash
# ray[tune] 2.60.0.
#
# A stopping rule is thought to save training. `MedianStoppingRule` also pauses: while fewer than `min_samples_required` other
# trials have come as far, a trial gives its place to one that waits, after each report (its `min_time_slice` is 0). Tune pauses
# a trainable that saves no checkpoint, too, and later runs it from its beginning, without a word. The farther a trial is
# ahead of the others, the oftener it begins again, so that the rule costs more training than there is to save, and
# curves have the same steps many times. With a checkpoint at each report no step is trained twice.
#
# Here: six trials of 12 steps, two at a time; without a scheduler 72 steps are trained.
#
# Output seen (who is paused when depends on timing):
#   steps trained without a checkpoint: 202, of which 45 different ones; in the longest curve: 84 rows
#   with one at each step:              48, of which 48 different ones
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 2>/dev/null
cat > "$folder/stop.py" <<'PY'
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
warnings.simplefilter("ignore")
import ray
from ray import tune
from ray.tune.schedulers import MedianStoppingRule


def train(config):
    first = 1
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            first = int(Path(folder, "step").read_text()) + 1
    for step in range(first, 13):
        with Path(config["log"]).open("a") as log:
            print(config["gain"], step, file=log)
        metrics = {"fid": 100 - step * config["gain"]}
        if not config["saves"]:
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def trained(saves):
    """All steps that were trained, in order, and the rows of the longest curve."""
    log = Path(sys.argv[1], f"log-{saves}")
    rule = MedianStoppingRule(time_attr="training_iteration", grace_period=3, min_samples_required=3)
    results = tune.Tuner(
        train,
        param_space={"gain": tune.grid_search([1, 2, 3, 4, 5, 6]), "saves": saves, "log": str(log)},
        tune_config=tune.TuneConfig(metric="fid", mode="min", scheduler=rule),
        run_config=tune.RunConfig(storage_path=sys.argv[1], verbose=0),
    ).fit()
    return log.read_text().splitlines(), max(len(result.metrics_dataframe) for result in results)


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
(without, rows), (saved, _) = trained(saves=False), trained(saves=True)
print(
    f"steps trained without a checkpoint: {len(without)}, of which {len(set(without))} different ones; "
    f"in the longest curve: {rows} rows"
)
print(f"with one at each step:              {len(saved)}, of which {len(set(saved))} different ones")
raise SystemExit(not (len(without) > 100 and rows > 24 and len(saved) <= 72))
PY
"$folder/venv/bin/python" "$folder/stop.py" "$folder/runs" 2>/dev/null | grep -E '^(steps|with)'
