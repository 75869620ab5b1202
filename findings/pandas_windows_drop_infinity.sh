#!/usr/bin/env bash
# pandas 3.1.1, numpy 2.4.6.
#
# A loss that explodes has an infinity in its curve. Whatever pandas does over a window (`rolling`, `expanding`, `ewm`) takes
# an infinity for a missing value, while `max`, `mean`, `cummax` and `cumsum` of the same series keep it: so a smoothed curve
# shows nothing of the explosion, and the largest value up to now is a small one. NumPy, and the recursion that defines an
# exponentially weighted mean, give infinity from there on.
#
# Output seen (for 1, 2, inf, 3, 4):
#   cummax:                1 2 inf inf inf
#   expanding().max():     1 2 2 3 4
#   expanding().mean():    1 1.5 1.5 2 2.5
#   ewm(alpha=0.5).mean(): 1 1.67 1.67 2.64 3.44
#   rolling(2).max():      nan 2 nan nan 4
#   rolling(2, 1).max():   1 2 2 3 4
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'pandas==3.1.1' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/windows.py" <<'PY'
import numpy as np
import pandas as pd

curve = pd.Series([1.0, 2.0, np.inf, 3.0, 4.0])
seen = {
    "cummax": curve.cummax(),
    "expanding().max()": curve.expanding().max(),
    "expanding().mean()": curve.expanding().mean(),
    "ewm(alpha=0.5).mean()": curve.ewm(alpha=0.5).mean(),
    "rolling(2).max()": curve.rolling(2).max(),
    "rolling(2, 1).max()": curve.rolling(2, 1).max(),
}
for name, values in seen.items():
    print(f"{name + ':':22} {' '.join(f'{value:.3g}' for value in values)}")
windows = list(seen)[1:]
kept = np.isinf(seen["cummax"].iloc[-1]) and np.isinf(curve.mean())
raise SystemExit(not (kept and not any(np.isinf(seen[name]).any() for name in windows) and seen["expanding().max()"].iloc[-1] == 4))
PY
"$folder/venv/bin/python" "$folder/windows.py"
