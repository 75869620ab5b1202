#!/usr/bin/env bash
# ray[tune] 2.60.0: of the worker processes that Ray holds ready, Tune's trials use none.
#
# `ray.init` starts one idle worker process for each CPU, so that what comes first need not wait for a
# process to start, and a plain actor is placed in one of them. A trial of Tune never is: Tune gives its
# actors a runtime environment of their own (one variable, for a library that may not even be installed),
# and an actor with any environment gets a new process. The idle ones stay idle, and each trial's worker
# starts Python and imports (torch: some three seconds) while one that has done so may stand beside it.
# Expected by a reader of the docs: the first trials of Tune begin in the workers that are ready.
#
# Output seen (2 CPUs):
#   ready: 2 processes
#   plain actor: in a process that was ready
#   actor with a variable of its own: in a new process
#   trial of Tune: in a new process
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 'psutil==7.1.3' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import os
import sys
import time

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
import psutil
import ray
from ray import tune


@ray.remote(num_cpus=1)
class Actor:
    def pid(self):
        return os.getpid()


class Trial(tune.Trainable):
    def step(self):
        return {"pid": os.getpid(), "done": True}

    def save_checkpoint(self, folder):
        return None


def of_actor(**options):
    return ray.get(Actor.options(**options).remote().pid.remote())


def of_trial():
    config = tune.RunConfig(storage_path=sys.argv[1], verbose=0)
    return tune.Tuner(Trial, run_config=config).fit()[0].metrics["pid"]


def ready():
    return {p.pid for p in psutil.Process().children(recursive=True) if "ray::IDLE" in " ".join(p.cmdline())}


def where(kind):
    ray.init(address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="ERROR")
    for _ in range(60):
        if len(idle := ready()) == 2:
            break
        time.sleep(0.5)
    time.sleep(2)
    found = kind() in idle
    ray.shutdown()
    return len(idle), found


seen = {
    "plain actor": where(of_actor),
    "actor with a variable of its own": where(lambda: of_actor(runtime_env={"env_vars": {"SOME": "1"}})),
    "trial of Tune": where(of_trial),
}
print("ready:", *{count for count, _ in seen.values()}, "processes")
for name, (_, found) in seen.items():
    print(f"{name}: {'in a process that was ready' if found else 'in a new process'}")
raise SystemExit([found for _, found in seen.values()] != [True, False, False])
PY
"$folder/venv/bin/python" "$folder/try.py" "$folder/results" 2>/dev/null
