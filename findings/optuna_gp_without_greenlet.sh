#!/usr/bin/env bash
# optuna 5.0.0, sqlalchemy 2.1.9, greenlet 3.5.6, torch 2.13.0.
#
# Optuna's GPSampler fits by a batched L-BFGS-B that wants `greenlet`. Optuna itself declares greenlet only
# as an extra; up to SQLAlchemy 2.0 it came along as SQLAlchemy's dependency on common platforms. SQLAlchemy
# 2.1 made it an extra too, so `pip install optuna torch` now gives a GPSampler that optimises its
# acquisition function one start after another, and for the same seed it proposes other points.
# Expected by a reader of the docs: the same seed gives the same proposals.
#
# Output seen (2 cores):
#   without greenlet: greenlet installed: False
#   with greenlet:    greenlet installed: True
#   same seed, same proposals: False
#   seconds a proposal, without / with: 0.263 / 0.381  (either may be the faster one on a loaded machine)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'optuna==5.0.0' 'sqlalchemy==2.1.9' 'scipy' 'torch==2.13.0' 2>/dev/null
cat > "$folder/propose.py" <<'PY'
import importlib.util, time, warnings
import optuna
warnings.simplefilter("ignore"); optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=0, n_startup_trials=8))
begun = time.perf_counter()
study.optimize(lambda t: sum((t.suggest_float(f"x{i}", 0, 1) - .3) ** 2 for i in range(4)), n_trials=24)
seconds = (time.perf_counter() - begun) / 16
print(importlib.util.find_spec("greenlet") is not None, f"{seconds:.3f}", [round(t.params["x0"], 12) for t in study.trials[8:]], sep="|")
PY
without=$("$folder/venv/bin/python" "$folder/propose.py")
"$folder/venv/bin/pip" install --quiet 'greenlet==3.5.6' 2>/dev/null
with=$("$folder/venv/bin/python" "$folder/propose.py")
echo "without greenlet: greenlet installed: ${without%%|*}"
echo "with greenlet:    greenlet installed: ${with%%|*}"
same=$([ "${without##*|}" = "${with##*|}" ] && echo True || echo False)
echo "same seed, same proposals: $same"
echo "seconds a proposal, without / with: $(echo "$without" | cut -d'|' -f2) / $(echo "$with" | cut -d'|' -f2)"
[ "${without%%|*}" = False ] && [ "${with%%|*}" = True ] && [ "$same" = False ]
