#!/usr/bin/env bash
# optuna 5.0.0, numpy 2.4.6.
#
# `MedianPruner` is to prune what is worse than the median, `PercentilePruner(75.0)` to keep the top 75 %: one expects that of trials
# that come in no particular order a half, or a quarter, is pruned, in a long search as in a short one. But both compare with
# completed trials only, and those are the ones that passed: the bar rises with each of them. Of trials whose values are drawn
# evenly, whatever was before, the one prunes more and more, at last nearly all, and the other 80 % in place of 25 %. What
# Vizier's median rule compares with, and Ray's `MedianStoppingRule`, counts the stopped ones too.
#
# Output seen (each trial reports its final value from its first step on; share pruned, by the thousand):
#   MedianPruner:         88 % 95 % 96 %
#   PercentilePruner(75): 71 % 82 % 82 %
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'optuna==5.0.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/prune.py" <<'PY'
import random

import optuna
from optuna.pruners import MedianPruner, PercentilePruner
from optuna.trial import TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)


def shares(pruner, thousands=3):
    """Of each thousand trials, the share that is pruned."""
    study, chance, pruned = optuna.create_study(pruner=pruner), random.Random(0), []
    for _ in range(1000 * thousands):
        trial, value = study.ask(), chance.random()
        trial.report(value, step=1)
        pruned.append(trial.should_prune())
        if pruned[-1]:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
    return [sum(pruned[first : first + 1000]) / 1000 for first in range(0, len(pruned), 1000)]


half, quarter = shares(MedianPruner()), shares(PercentilePruner(75.0))
print("MedianPruner:        ", *(f"{share:.0%}".replace("%", " %") for share in half))
print("PercentilePruner(75):", *(f"{share:.0%}".replace("%", " %") for share in quarter))
raise SystemExit(not (half[0] > 0.8 and half[-1] > 0.95 and min(quarter) > 0.6))
PY
"$folder/venv/bin/python" "$folder/prune.py"
