#!/usr/bin/env bash
# smac 2.4.0, ConfigSpace 1.2.2, scikit-learn 1.8.0, numpy 2.4.6.
#
# Two things that a good guess would get wrong, of the newest SMAC:
#
# 1. A fixed seed does not fix what it proposes. `Scenario(seed=0, deterministic=True)` and a loss without noise: two processes
#    propose the same first configurations (the initial design), and others as soon as the local search begins. It starts from
#    `list(set(...))` of `Configuration`s, whose hash is that of their text, which Python draws anew for every process; the
#    order decides which of its random numbers each start gets. With PYTHONHASHSEED fixed they repeat. A search that is
#    gone on with in another process, or repeated by someone else, is another search.
# 2. It says `scikit-learn>=1.6.1`, pip installs 1.9, and `import smac` ends in an ImportError: it imports
#    `DTYPE` from the private module `sklearn.tree._tree`, which 1.9 no longer has.
#
# Here: a bowl over a logarithmic number, a number and a choice, 40 configurations by ask and tell, the last 12 shown.
#
# Output seen:
#   scikit-learn 1.9.1: ImportError: cannot import name 'DTYPE' from 'sklearn.tree._tree'
#   PYTHONHASHSEED=1: 0.4460 0.4421 0.4427 0.4798 0.4420 0.4584 0.4565 0.4547 0.4600 0.4563 0.4537 0.6102
#   PYTHONHASHSEED=2: 0.4599 0.4547 0.4800 0.4567 0.4556 0.4680 0.4639 0.4649 0.1506 0.2451 0.2130 0.6102
#   PYTHONHASHSEED=2: 0.4599 0.4547 0.4800 0.4567 0.4556 0.4680 0.4639 0.4649 0.1506 0.2451 0.2130 0.6102
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
packages=('smac==2.4.0' 'ConfigSpace==1.2.2' 'numpy==2.4.6')
"$folder/venv/bin/pip" install --quiet "${packages[@]}" 'scikit-learn==1.9.1' 2>/dev/null
imported=$(cd "$folder" && "$folder/venv/bin/python" -c 'import smac' 2>&1 | tail -1 | sed 's/ (.*//' || true)
echo "scikit-learn 1.9.1: ${imported:-imported}"
"$folder/venv/bin/pip" install --quiet "${packages[@]}" 'scikit-learn==1.8.0' 2>/dev/null
cat > "$folder/search.py" <<'PY'
import math
import sys

from ConfigSpace import Categorical, ConfigurationSpace, Float
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory.dataclasses import TrialValue

space = ConfigurationSpace(seed=0)
space.add([Float("rate", (1e-4, 1e-1), log=True), Float("x", (0, 1)), Categorical("c", ["p", "q", "r"])])
scenario = Scenario(space, deterministic=True, n_trials=100, seed=0, output_directory=sys.argv[1])
search = HyperparameterOptimizationFacade(scenario, lambda c, seed=0: 0.0, overwrite=True, logging_level=50)
seen = []
for _ in range(40):
    asked = search.ask()
    c = asked.config
    cost = (math.log10(c["rate"]) + 2.5) ** 2 + (c["x"] - 0.3) ** 2 + (c["c"] == "p")
    search.tell(asked, TrialValue(cost=cost, time=0.1))
    seen.append(f"{c['x']:.4f}")
print(len(set(seen)), *seen[-12:])
PY
run() { (cd "$folder" && PYTHONHASHSEED=$1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore search.py "$folder/out" 2>/dev/null); }
one=$(run 1); two=$(run 2); again=$(run 2)
echo "PYTHONHASHSEED=1: ${one#* }"
echo "PYTHONHASHSEED=2: ${two#* }"
echo "PYTHONHASHSEED=2: ${again#* }"
[[ "$imported" == *ImportError*DTYPE* && "$one" != "$two" && "$two" == "$again" ]]
