#!/usr/bin/env bash
# optuna 5.0.0, torch 2.15.0, scipy 1.17.1, numpy 2.4.6, one thread.
#
# Optuna's GPSampler learns from completed trials and knows of running ones. A pruned trial is neither: it leaves the process, and
# so the best point of its acquisition function, where they were, and the next proposal is the same point again, to be pruned
# again, for as long as nothing completes. So it is with a trial that failed, by NaN or for want of memory: the search asks for
# what fails until its budget is spent. TPESampler, the default, does learn from pruned trials, and the documentation of
# GPSampler speaks of pruned ones only where it tells when constraints are evaluated.
#
# Output seen (twelve trials completed, then eighteen pruned at their first report, or failed, seeds 0 to 2):
#   GPSampler, pruned:  the 18 proposals are 1 1 1 different points
#   GPSampler, failed:  the 18 proposals are 1 1 1 different points
#   TPESampler, pruned: the 18 proposals are 18 18 18 different points
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'optuna==5.0.0' 'torch==2.15.0' 'scipy==1.17.1' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/propose.py" <<'PY'
import warnings

warnings.simplefilter("ignore")
import optuna
import torch
from optuna.distributions import FloatDistribution
from optuna.samplers import GPSampler, TPESampler
from optuna.trial import TrialState

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def different(sampler, state):
    """How many different points, to three digits, are proposed while every trial is pruned, or fails."""
    study, points = optuna.create_study(sampler=sampler), set()
    for number in range(30):
        trial = study.ask(SPACE)
        x, y = trial.params["x"], trial.params["y"]
        value = (x - 0.3) ** 2 + (y - 0.6) ** 2
        if number < 12:
            study.tell(trial, value)
        else:
            points.add((round(x, 3), round(y, 3)))
            trial.report(value + 1, step=1)
            study.tell(trial, state=state)
    return len(points)


KINDS = {
    "GPSampler, pruned": (GPSampler, TrialState.PRUNED),
    "GPSampler, failed": (GPSampler, TrialState.FAIL),
    "TPESampler, pruned": (TPESampler, TrialState.PRUNED),
}
seen = {
    name: [different(kind(seed=seed, n_startup_trials=10), state) for seed in range(3)]
    for name, (kind, state) in KINDS.items()
}
for name, counts in seen.items():
    print(f"{name + ':':19} the 18 proposals are", *counts, "different points")
*repeated, tpe = seen.values()
raise SystemExit(not (max(map(max, repeated)) <= 3 and min(tpe) >= 15))
PY
OMP_NUM_THREADS=1 "$folder/venv/bin/python" "$folder/propose.py"
