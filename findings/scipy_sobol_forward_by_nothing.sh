#!/usr/bin/env bash
# scipy 1.17.1, numpy 2.4.6.
#
# A search that goes on at trial n takes a Sobol sequence forward by n before it draws. For n = 0, the first
# trial, `Sobol.fast_forward(0)` of a new sequence raises OverflowError, though no point has to be passed over;
# once a point was drawn, the same call does nothing, and `Halton.fast_forward(0)` does nothing at all times.
#
# Output seen:
#   Sobol, new: OverflowError
#   Sobol, after a point: nothing
#   Halton, new: nothing
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'scipy==1.17.1' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/forward.py" <<'PY'
from scipy.stats import qmc


def forward(sequence):
    try:
        sequence.fast_forward(0)
    except OverflowError as error:
        return type(error).__name__
    return "nothing"


begun = qmc.Sobol(3, rng=1)
begun.random(1)
print("Sobol, new:", forward(qmc.Sobol(3, rng=1)))
print("Sobol, after a point:", forward(begun))
print("Halton, new:", forward(qmc.Halton(3, rng=1)))
PY
seen=$("$folder/venv/bin/python" "$folder/forward.py")
echo "$seen"
[ "$seen" = $'Sobol, new: OverflowError\nSobol, after a point: nothing\nHalton, new: nothing' ]
