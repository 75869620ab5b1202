#!/usr/bin/env bash
# piq 0.8.0, torch 2.15.0.
#
# A Fréchet distance of a set to itself is 0, and of a good generator's samples little more. piq's `FID` is far from both: it takes
# the root of the covariances' product by Newton-Schulz iteration, and stops when the square is near to the product by 1e-5 of
# the whole product's size. Directions of little variance are too small to count there: their roots are not found yet, and nearly
# twice their variance is added to the distance. It is so in float64, too, and with any number of samples, and nothing is said.
# Nor is it a constant that one may subtract. A generator without any variance there has these roots right, 0, and only that
# variance as its distance: so the one that draws from the true distribution comes out as the worst of these four, and the best
# is one that lacks three quarters of the directions. A search by this number looks for lost detail.
# torch-fidelity, clean-fid and Ignite have no such floor, nor has gansearch.
#
# Here: 256 normal features whose variances fall by a power of their rank; 5,000 samples of the first so many of them.
#
# Output seen:
#                          exact    piq
#   the real set itself     0.00   1.09
#   256 of 256 directions   0.04   1.13
#   128 of 256 directions   0.18   1.00
#    64 of 256 directions   0.40   0.84
#    32 of 256 directions   0.79   0.86
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'piq==0.8.0' 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/distance.py" <<'PY'
import torch
from piq import FID

torch.set_num_threads(1)
torch.manual_seed(0)
SAMPLES, FEATURES = 5000, 256


def draw(directions=FEATURES):
    ranks = torch.arange(1, FEATURES + 1).double()
    return torch.randn(SAMPLES, FEATURES).double() * (10 * ranks**-1.75).sqrt() * (ranks <= directions)


def exact(real, fake):
    """The Fréchet distance by eigenvalues of a symmetric matrix."""
    a, b = torch.cov(real.T), torch.cov(fake.T)
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    return float((real.mean(0) - fake.mean(0)).square().sum() + a.trace() + b.trace() - 2 * overlap)


real = draw()
sets = {f"{count:3} of {FEATURES} directions": draw(count) for count in (256, 128, 64, 32)}
seen = {}
print(f"{'':21}   exact    piq")
for name, fake in {"the real set itself": real, **sets}.items():
    seen[name] = abs(exact(real, fake)), float(FID()(real, fake))
    print(f"{name:21}  {seen[name][0]:6.2f} {seen[name][1]:6.2f}")
(itself, floor), *rest = seen.values()
exacts, ours = zip(*rest, strict=True)
as_seen = itself < 0.01 and floor > 0.5 and sorted(exacts) == list(exacts) and max(ours) == ours[0] > ours[2] == min(ours)
raise SystemExit(not as_seen)
PY
"$folder/venv/bin/python" -W ignore "$folder/distance.py"
