#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.15.0.
#
# A `MetricCollection` is thought to give what its metrics would give one by one. To save time it finds out which of them keep the
# same sums, as precision and recall do, and from then on updates only the first of these. It finds out by their values after the
# first batch, not by what they are told to do. Two metrics whose sums happen to be the same then are one for ever, after
# `reset` too. At the first batch of a GAN nothing has been learnt: a discriminator that has no opinion is over neither of two
# thresholds, and how often it is sure is what it was asked first, how often it is right, in each later report. Which number
# comes out depends on the batch that came first. With `compute_groups=False` each is its own.
#
# Output seen (an output over 0.6 is likely to be real, over 0.9 surely; accuracies in three reports of a training):
#   as it is:             likely 0.81 1.00 1.00, surely 0.81 1.00 1.00
#   compute_groups=False: likely 0.81 1.00 1.00, surely 0.50 0.59 0.84
#   resumed at report 2:  likely 1.00 1.00, surely 0.59 0.84
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torchmetrics==1.9.0' 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/collection.py" <<'PY'
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy

torch.set_num_threads(1)
REPORTS = [(0.0, 0.5, 1.0), (1.0, 2.0, 2.2), (2.0, 3.0, 3.0)]  # how far the outputs of real and fake ones are apart
real = torch.arange(64) % 2


def accuracies(reports, **options):
    """Of the two metrics in each report."""
    torch.manual_seed(0)
    noise = [[0.1 * torch.randn(64) for _ in report] for report in REPORTS][-len(reports) :]
    metrics = MetricCollection({"likely": BinaryAccuracy(0.6), "surely": BinaryAccuracy(0.9)}, **options)
    rows = []
    for report, drawn in zip(reports, noise, strict=True):
        for apart, each in zip(report, drawn, strict=True):
            metrics.update(torch.sigmoid(apart * (2 * real - 1) + each), real)
        rows.append([f"{metrics.compute()[name]:.2f}" for name in ("likely", "surely")])
        metrics.reset()
    return [list(column) for column in zip(*rows, strict=True)]


seen = {
    "as it is": accuracies(REPORTS),
    "compute_groups=False": accuracies(REPORTS, compute_groups=False),
    "resumed at report 2": accuracies(REPORTS[1:]),
}
for name, (likely, surely) in seen.items():
    print(f"{name + ':':21} likely {' '.join(likely)}, surely {' '.join(surely)}")
merged, apart, resumed = seen.values()
raise SystemExit(not (merged[0] == merged[1] == apart[0] != apart[1] and resumed == [column[1:] for column in apart]))
PY
"$folder/venv/bin/python" -W ignore "$folder/collection.py"
