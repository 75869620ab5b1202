#!/usr/bin/env bash
# torch-fidelity 0.4.0 (torch 2.13.0): one non-finite feature among a thousand samples, as one image of a
# generator that has begun to diverge gives.
#
# The three metrics of one library, from the same features, answer in three ways: FID raises, KID is NaN,
# and precision and recall are ordinary numbers (NaN distances compare as false, so the sample merely
# counts as outside). A search that looks at precision alone never learns of it.
#
# Output seen:
#   fid:       LinAlgError
#   kid:       nan
#   precision: 0.786 -> 0.785
#   recall:    0.802 -> 0.802
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch-fidelity==0.4.0' 'torch==2.13.0' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import math, warnings
warnings.simplefilter("ignore")
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

draws = torch.Generator().manual_seed(0)
fake, real = (torch.randn(1000, 16, generator=draws) for _ in range(2))
before = prc_features_to_metric(fake, real, verbose=False)
fake[0, 0] = math.nan
after = prc_features_to_metric(fake, real, verbose=False)
kid = kid_features_to_metric(fake, real, kid_subset_size=500, kid_subsets=10, verbose=False)
kid = float(kid["kernel_inception_distance_mean"])
try:
    fid = fid_statistics_to_metric(fid_features_to_statistics(fake), fid_features_to_statistics(real), False)
except Exception as error:
    fid = type(error).__name__
print(f"fid:       {fid}")
print(f"kid:       {kid}")
for name in ("precision", "recall"):
    print(f"{name + ':':<10} {float(before[name]):.3f} -> {float(after[name]):.3f}")
raise SystemExit(not (isinstance(fid, str) and math.isnan(kid) and math.isfinite(after["precision"])))
PY
"$folder/venv/bin/python" "$folder/try.py" 2>/dev/null
