#!/usr/bin/env bash
# optuna 5.0.0, numpy 2.4.6.
#
# `PatientPruner` "wraps another pruner with tolerance": one expects it to prune what the other prunes, some reports later. It
# asks the other only where the best of the last reports is WORSE than the best before, which is never so of a training
# - that has diverged: nothing is worse than NaN, and it goes on to its end;
# - that has collapsed, with the same FID each time, or has stood still from its first report on.
# With None in place of the other pruner ("early-stopping", by its documentation) it is the same. And `min_delta`, which in
# early stopping elsewhere is what an improvement must be at least, so that a larger one stops more, is here how much worse
# the last reports must be: a larger one stops less.
#
# Output seen (20 reports; ten completed trials before fall to 24 or so; at which report the trial is pruned):
#                    median  patient, median  patient, None  patient, None, min_delta=5
#   diverges at 5:        6            never          never                       never
#   collapses at 5:       6            never          never                       never
#   stands still:         0            never          never                       never
#   rises from 5 on:      6                9              9                          11
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'optuna==5.0.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/prune.py" <<'PY'
import math
import warnings

warnings.simplefilter("ignore")
import optuna
from optuna.pruners import MedianPruner, PatientPruner

optuna.logging.set_verbosity(optuna.logging.ERROR)
CURVES = {
    "diverges at 5": lambda step: 100 - 4 * step if step < 5 else math.nan,
    "collapses at 5": lambda step: 100 - 4 * step if step < 5 else 84,
    "stands still": lambda step: 300,
    "rises from 5 on": lambda step: 100 - 4 * step if step < 5 else 84 + 2 * (step - 5),
}
PRUNERS = {
    "median": MedianPruner(),
    "patient, median": PatientPruner(MedianPruner(), patience=3),
    "patient, None": PatientPruner(None, patience=3),
    "patient, None, min_delta=5": PatientPruner(None, patience=3, min_delta=5),
}


def pruned(curve, pruner):
    """At which of 20 reports a trial is pruned, after ten that completed."""
    study = optuna.create_study(pruner=pruner)
    for number in range(10):
        trial = study.ask()
        for step in range(20):
            trial.report(100 - 4 * step + number, step)
        study.tell(trial, 24 + number)
    trial = study.ask()
    for step in range(20):
        trial.report(curve(step), step)
        if trial.should_prune():
            return step
    return None


seen = {name: [pruned(curve, pruner) for pruner in PRUNERS.values()] for name, curve in CURVES.items()}
print(" " * 16, "  ".join(PRUNERS))
for name, steps in seen.items():
    told = ("never" if step is None else str(step) for step in steps)
    print(f"{name + ':':16}", "  ".join(f"{each:>{len(pruner)}}" for each, pruner in zip(told, PRUNERS)))
dead = [seen[name] for name in list(CURVES)[:3]]
as_seen = all(alone is not None and not any(step is not None for step in patient) for alone, *patient in dead)
_, _, none, delta = seen["rises from 5 on"]
raise SystemExit(not (as_seen and none < delta))
PY
"$folder/venv/bin/python" "$folder/prune.py"
