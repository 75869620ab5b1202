#!/usr/bin/env bash
# ray[tune] 2.60.0, mlflow 3.17.2: a callback of one's own has Tune load MLflow, to count that it is none of MLflow's.
#
# For Ray's usage statistics `Tuner.fit` counts the callbacks that it is given, by kind, and imports its classes
# for MLflow, wandb, Comet and Aim to compare them; the first two import these packages where they are
# installed. It does so also where the statistics are off (RAY_USAGE_STATS_ENABLED=0), and for a callback
# that has nothing to do with any of them.
# Expected: what nobody uses is not loaded, and nothing is counted where nothing is to be told.
# Way out, by a private name: `ray.air._internal.usage.tag_callbacks = lambda _: False`.
#
# Output seen:
#   no callback: MLflow loaded: False
#   a callback of one's own: 850 modules, 0.6 s of processor time, MLflow loaded: True
#   the same, uncounted: MLflow loaded: False
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 'mlflow==3.17.2' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import os
import sys
import time

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"
}
import ray
from ray import tune
from ray.air._internal import usage
from ray.tune import Callback

kind, results = sys.argv[1:]


class Own(Callback):
    pass


count = usage.tag_callbacks


def counted(callbacks):
    modules, begun = len(sys.modules), time.process_time()
    count(callbacks)
    if len(sys.modules) > modules:
        print(f"{len(sys.modules) - modules} modules, {time.process_time() - begun:.1f} s of processor time, ", end="")


usage.tag_callbacks = counted if kind != "uncounted" else lambda _: False
ray.init(address="local", num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="ERROR")
callbacks = [] if kind == "none" else [Own()]
config = tune.RunConfig(storage_path=results, verbose=0, callbacks=callbacks)
tune.Tuner(lambda _: {"done": True}, run_config=config).fit()
ray.shutdown()
print(f"MLflow loaded: {'mlflow' in sys.modules}")
PY
run() { "$folder/venv/bin/python" "$folder/try.py" "$1" "$folder/results" 2>/dev/null | tail -1; }
none=$(run none); own=$(run own); uncounted=$(run uncounted)
echo "no callback: $none"
echo "a callback of one's own: $own"
echo "the same, uncounted: $uncounted"
[[ "$none" == *False && "$own" == *True && "$uncounted" == *False ]]
