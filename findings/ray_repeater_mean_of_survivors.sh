#!/usr/bin/env bash
# ray[tune] 2.60.0 with optuna 5.0.0.
#
# `Repeater` runs each configuration on several seeds, and tells the searcher "the average among all repeats". Seeds that
# diverge (NaN) or fail (no result) are left out of that average without a word, so that a configuration of which three of four
# seeds diverge is worth its one lucky seed, and is the best of the search. Where all diverge, the average is NaN, which
# Optuna refuses and OptunaSearch only logs: that trial stays RUNNING in the study for ever, and from Optuna 5 on running
# trials sway TPE (`constant_liar` has become its default).
# Expected: NaN for the configuration, or its failures counted in some way.
#
# Output seen (the FIDs of four seeds -> what Optuna's study has):
#   20 21 22 23     -> COMPLETE 21.5
#   10 nan nan nan  -> COMPLETE 10.0
#   nan nan nan nan -> RUNNING None
#   best: 10.0
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 'optuna==5.0.0' 2>/dev/null
cat > "$folder/repeat.py" <<'PY'
import math
import warnings

warnings.simplefilter("ignore")
import optuna
from ray import tune
from ray.tune.search import Repeater
from ray.tune.search.optuna import OptunaSearch

SEEDS = ([20, 21, 22, 23], [10, math.nan, math.nan, math.nan], [math.nan] * 4)
storage = optuna.storages.InMemoryStorage()
searcher = OptunaSearch({"lr": tune.loguniform(1e-5, 1e-1)}, metric="fid", mode="min", seed=0, storage=storage, study_name="s")
search = Repeater(searcher, repeat=4)
for number, fids in enumerate(SEEDS):
    names = [f"{number}-{seed}" for seed in range(4)]
    for name in names:
        search.suggest(name)
    for name, fid in zip(names, fids):
        search.on_trial_complete(name, {"fid": float(fid), "training_iteration": 1})
study = optuna.load_study(study_name="s", storage=storage)
for fids, trial in zip(SEEDS, study.trials):
    print(f"{' '.join(map(str, fids)):15} -> {trial.state.name} {trial.value}")
print("best:", study.best_value)
states = [trial.state.name for trial in study.trials]
raise SystemExit(not (states == ["COMPLETE", "COMPLETE", "RUNNING"] and study.best_value == 10.0))
PY
"$folder/venv/bin/python" "$folder/repeat.py" 2>/dev/null
