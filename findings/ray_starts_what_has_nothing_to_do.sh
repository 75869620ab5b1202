#!/usr/bin/env bash
# ray[default] 2.60.0: `ray.init` starts three processes that were declined, or have nothing to do.
#
# With `include_dashboard=False` the dashboard's server starts all the same, with no HTTP server and for usage statistics
# alone, which are off here, too (its log says both); with `log_to_driver=False` the reader of the workers' logs starts, which
# only sends them to the driver; and on the one machine of a local Ray a monitor starts, which asks an autoscaler for nodes.
# Each is a Python process that loads Ray: processor time just when the driver and its first worker want it.
# Expected by a reader of the docs: GCS and raylet, and what the raylet starts.
# Way out, by private names: have `start_monitor`, `start_log_monitor` and `start_api_server` of `ray._private.node.Node` do
# nothing; a task runs without them.
#
# Output seen (2 CPUs; seconds of processor time, ten after `ray.init`):
#   monitor.py: 0.4 s
#   log_monitor.py: 0.4 s
#   dashboard.py: 0.7 s
#   with the three starters replaced: 0 of them, a task answers 42
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[default]==2.60.0' 'psutil==7.1.3' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import os
import time
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
import psutil
import ray
from ray._private.node import Node

UNWANTED = ("monitor.py", "log_monitor.py", "dashboard.py")


def started():
    """Seconds of processor time by what runs, of those three."""
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
        _node_ip_address="127.0.0.1", logging_level="ERROR",
    )
    time.sleep(10)
    found = {}
    for process in psutil.Process().children(recursive=True):
        names = {Path(word).name for word in process.cmdline()}
        found |= {name: sum(process.cpu_times()[:2]) for name in UNWANTED if name in names}
    answer = ray.get(ray.remote(lambda: 6 * 7).remote())
    ray.shutdown()
    return found, answer


as_it_comes, _ = started()
for name in UNWANTED:
    print(f"{name}: {f'{as_it_comes[name]:.1f} s' if name in as_it_comes else 'not there'}")
for name in ("start_monitor", "start_log_monitor", "start_api_server"):
    setattr(Node, name, lambda *_, **__: None)
without, answer = started()
print(f"with the three starters replaced: {len(without)} of them, a task answers {answer}")
raise SystemExit(not (set(as_it_comes) == set(UNWANTED) and not without and answer == 42))
PY
"$folder/venv/bin/python" "$folder/try.py" 2>/dev/null
