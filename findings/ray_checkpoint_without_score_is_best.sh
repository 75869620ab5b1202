#!/usr/bin/env bash
# ray[tune] 2.60.0.
#
# A FID costs more than the training between two of them, so that a checkpoint is saved at each report, and a FID measured at
# some. `CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="fid", checkpoint_score_order="min")` is then expected to
# keep the two with the best FIDs (Ray says that a missing one counts as minus infinity, the worst). A checkpoint
# without the score is put at the best end of the list, and those that have one are deleted first: at the end
# the best of the training is gone.
#
# Output seen (FID 5 at step 2, 9 at step 4, 7 at step 6, of 8 steps):
#   kept: steps 7 and 8, their FIDs None and None
#   the best by FID: RuntimeError
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 2>/dev/null
cat > "$folder/keep.py" <<'PY'
import sys
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import ray
from ray import tune

FIDS = {2: 5.0, 4: 9.0, 6: 7.0}


def train(config):
    for step in range(1, 9):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step))
            fid = {"fid": FIDS[step]} if step in FIDS else {}
            tune.report({"loss": 1.0 / step, **fid}, checkpoint=tune.Checkpoint.from_directory(folder))


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
keep = tune.CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="fid", checkpoint_score_order="min")
place = tune.RunConfig(name="study", storage_path=sys.argv[1], verbose=0, checkpoint_config=keep)
result = tune.Tuner(train, run_config=place).fit()[0]
kept = [(Path(checkpoint.path, "step").read_text(), metrics.get("fid")) for checkpoint, metrics in result.best_checkpoints]
steps, fids = zip(*sorted(kept))
print("kept: steps", " and ".join(steps) + ", their FIDs", " and ".join(map(str, fids)))
try:
    best = Path(result.get_best_checkpoint("fid", "min").path, "step").read_text()
except RuntimeError as error:
    best = type(error).__name__
print("the best by FID:", best)
raise SystemExit(not (fids == (None, None) and best == "RuntimeError"))
PY
"$folder/venv/bin/python" "$folder/keep.py" "$folder/runs" 2>/dev/null | grep -E '^(kept|the best)'
