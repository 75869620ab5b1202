#!/usr/bin/env bash
# cmaes 0.13.1, numpy 2.4.6.
#
# A training that diverges has NaN as its value, and a search by evolution ranks a generation. `CMA.tell` ranks by Python's
# `sort`, which a NaN leaves half done: the finite values before and behind it are no longer in order, and a NaN may stand first.
# Nothing is said, the distribution stays finite, and most searches still arrive, which hides it; one in four is led far
# away, into the region that diverges. With infinity in place of NaN none is. `SepCMA` and `CatCMAwM` rank in the same way.
# (pycma, by contrast, documents NaN as "sample again".)
#
# Here: the distance from the origin, squared, in two dimensions, started at (2, 2); where the first coordinate is over 2.3 a
# training would diverge. 30 seeds, 60 generations each; far: the mean ends over 1 from the optimum.
#
# Output seen:
#   CMA,    nan: 7 of 30 end far away
#   CMA,    inf: 0 of 30 end far away
#   SepCMA, nan: 8 of 30 end far away
#   SepCMA, inf: 0 of 30 end far away
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'cmaes==0.13.1' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/search.py" <<'PY'
import math

import numpy as np
from cmaes import CMA, SepCMA


def lost(kind, diverged, seed):
    """Whether a search ends far from where it should."""
    strategy = kind(mean=np.array([2.0, 2.0]), sigma=1.0, seed=seed)
    for _ in range(60):
        points = [strategy.ask() for _ in range(strategy.population_size)]
        strategy.tell([(p, diverged if p[0] > 2.3 else float(p @ p)) for p in points])
    return bool(np.linalg.norm(strategy.mean) > 1)


far = {}
for kind in (CMA, SepCMA):
    for diverged in (math.nan, math.inf):
        far[kind, diverged] = sum(lost(kind, diverged, seed) for seed in range(30))
        print(f"{kind.__name__ + ',':7} {diverged}: {far[kind, diverged]} of 30 end far away")
as_seen = all((count > 2) if math.isnan(value) else (count == 0) for (_, value), count in far.items())
raise SystemExit(not as_seen)
PY
"$folder/venv/bin/python" "$folder/search.py"
