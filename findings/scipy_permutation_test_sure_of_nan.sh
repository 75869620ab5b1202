#!/usr/bin/env bash
# scipy 1.17.1, numpy 2.4.6, deepsig 1.2.8.
#
# Two configurations are compared by five seeds each, and one training has diverged: NaN among the scores. SciPy's tests answer
# NaN then, and one would expect it of `permutation_test` and `monte_carlo_test`, too. These count the permutations that are at
# least as extreme; no comparison with NaN is true, so that none is: p = 0.0 for each alternative, whichever of the two diverged,
# though an exact test of five and five can give no less than 1/252. With infinity for the failure, as the worst there is, the
# mean does the same (half of the permutations are as extreme as what was seen), and the median is right. So does a statistic that
# is infinite for finite scores: Welch's t of modes covered, 10 by each seed against 9 by each.
# deepsig, which compares networks over seeds, has it from the same comparison: each of the two is better than the other.
# `dunnett` errs to the other side: 1.0 for all that are compared, also for those without NaN.
# gansearch counts how often one wins against the other, where a failure loses.
#
# Output seen (is A other than B, less, greater?):
#                                            two-sided    less   greater
#   permutation test, mean, no NaN             0.4444  0.8175    0.2222
#   permutation test, mean, NaN in A           0.0000  0.0000    0.0000
#   permutation test, mean, NaN in B           0.0000  0.0000    0.0000
#   permutation test, mean, inf in A           0.0000  1.0000    0.0000
#   permutation test, median, inf in A         0.3333  0.9405    0.1667
#   permutation test, t, 10s against 9s        0.0000  1.0000    0.0000
#   Monte Carlo test, mean, NaN in A           0.0002  0.0001    0.0001
#   Mann-Whitney U, NaN in A                      nan     nan       nan
#   deepsig: A over B, B over A: bootstrap 0.000 0.000, permutations 0.001 0.001
#   Dunnett, C has the NaN: A and C against B: 1.0 1.0
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'scipy==1.17.1' 'numpy==2.4.6' 'deepsig==1.2.8' 2>/dev/null
cat > "$folder/compare.py" <<'PY'
from math import inf, nan

import numpy as np
from deepsig import bootstrap_test, permutation_test
from scipy import stats

np.seterr(all="ignore")
SIDES = ("two-sided", "less", "greater")
A, B = np.array([20.0, 21, 22, 23, 24]), np.array([19.0, 20, 21, 22, 23.5])


def mean(a, b, axis):
    return np.mean(a, axis) - np.mean(b, axis)


def median(a, b, axis):
    return np.median(a, axis) - np.median(b, axis)


def t(a, b, axis):
    spread = np.var(a, axis, ddof=1) / a.shape[axis] + np.var(b, axis, ddof=1) / b.shape[axis]
    return mean(a, b, axis) / np.sqrt(spread)


def instead(scores, value):
    return np.concatenate([[value], scores[1:]])


def permuted(a, b, statistic):
    return [stats.permutation_test((a, b), statistic, alternative=side).pvalue for side in SIDES]


def simulated(a, statistic):
    null = stats.norm(20, 1).rvs
    return [stats.monte_carlo_test(a, null, statistic, alternative=side).pvalue for side in SIDES]


rows = {
    "permutation test, mean, no NaN": permuted(A, B, mean),
    "permutation test, mean, NaN in A": permuted(instead(A, nan), B, mean),
    "permutation test, mean, NaN in B": permuted(A, instead(B, nan), mean),
    "permutation test, mean, inf in A": permuted(instead(A, inf), B, mean),
    "permutation test, median, inf in A": permuted(instead(A, inf), B, median),
    "permutation test, t, 10s against 9s": permuted(np.full(5, 10.0), np.full(5, 9.0), t),
    "Monte Carlo test, mean, NaN in A": simulated(instead(A, nan), lambda a, axis: np.mean(a, axis)),
    "Mann-Whitney U, NaN in A": [stats.mannwhitneyu(instead(A, nan), B, alternative=side).pvalue for side in SIDES],
}
print(" " * 38, "{:>10} {:>7} {:>9}".format(*SIDES))
for name, (two, less, greater) in rows.items():
    print(f"{name:38} {two:10.4f} {less:7.4f} {greater:9.4f}")

first, second = list(instead(A, nan)), list(B)
deep = [test(*pair, seed=0) for test in (bootstrap_test, permutation_test) for pair in ((first, second), (second, first))]
print("deepsig: A over B, B over A: bootstrap {:.3f} {:.3f}, permutations {:.3f} {:.3f}".format(*deep))
dunnett = stats.dunnett(A, instead(A, nan), control=B, rng=0).pvalue
print("Dunnett, C has the NaN: A and C against B:", *dunnett)

sure = [rows[f"permutation test, mean, {what}"] == [0, 0, 0] for what in ("NaN in A", "NaN in B")]
sure += [rows[f"permutation test, {what}"][0] == 0 for what in ("mean, inf in A", "t, 10s against 9s")]
sure += [max(rows["Monte Carlo test, mean, NaN in A"]) < 0.001, max(deep) < 0.01, list(dunnett) == [1, 1]]
right = abs(rows["permutation test, median, inf in A"][0] - 1 / 3) < 1e-9
raise SystemExit(not (all(sure) and right and np.isnan(rows["Mann-Whitney U, NaN in A"]).all()))
PY
"$folder/venv/bin/python" -W ignore "$folder/compare.py"
