#!/usr/bin/env bash
# torch 2.15.0.
#
# A training goes on from a file with the states of its optimizer and its scheduler: one would load the optimizer, make a scheduler
# of it, and load that. But to make a scheduler sets the first rate, and its `load_state_dict` puts back a count and no rate;
# torch's documentation has a note on it. For `StepLR`, `ExponentialLR`, `CosineAnnealingLR` and `PolynomialLR` it makes
# no difference, and `LambdaLR` and `OneCycleLR` are right again after a step, so that a test with one of them passes. A warmup
# (`LinearLR`, `ConstantLR`, or what begins with one in `SequentialLR` or `ChainedScheduler`) begins anew at its first rate, and the
# schedulers go on from the rate that they find: long after the warmup it is a tenth of what it should be, to the end, and
# with most of them a tenth of that after the next interruption. In a search whose trials are paused, or lose their
# machines, those look worse that were interrupted. With the scheduler made before the optimizer's state is loaded all is right.
#
# Output seen (a warmup of 5 steps from a tenth, 40 steps; the last rate by that without interruption; interrupted at step 10, at
# steps 10, 20 and 30, and there with the scheduler made first):
#   cosine:                          1.000 1.000 1.000
#   OneCycleLR:                      1.000 1.000 1.000
#   warmup:                          0.100 0.001 1.000
#   warmup, then cosine:             0.101 0.129 1.000
#   warmup beside exponential decay: 0.100 0.001 1.000
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/resume.py" <<'PY'
import io

import torch
from torch import nn
from torch.optim import lr_scheduler as schedules

torch.set_num_threads(1)
STEPS, WARM, LONG = 40, 5, 80


def warmup(optimizer):
    return schedules.LinearLR(optimizer, 0.1, 1.0, WARM)


def cosine(optimizer):
    return schedules.CosineAnnealingLR(optimizer, LONG)


KINDS = {
    "cosine": cosine,
    "OneCycleLR": lambda optimizer: schedules.OneCycleLR(optimizer, 0.1, total_steps=LONG),
    "warmup": warmup,
    "warmup, then cosine": lambda optimizer: schedules.SequentialLR(
        optimizer, [warmup(optimizer), cosine(optimizer)], [WARM]
    ),
    "warmup beside exponential decay": lambda optimizer: schedules.ChainedScheduler(
        [warmup(optimizer), schedules.ExponentialLR(optimizer, 0.99)]
    ),
}


def made():
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)


def last_rate(kind, interrupted=(), scheduler_first=False):
    """The rate after all steps, gone on with from a file at some of them."""
    optimizer = made()
    scheduler = KINDS[kind](optimizer)
    for step in range(STEPS):
        if step in interrupted:
            file = io.BytesIO()
            torch.save((optimizer.state_dict(), scheduler.state_dict()), file)
            file.seek(0)
            of_optimizer, of_scheduler = torch.load(file, weights_only=False)
            optimizer = made()
            if scheduler_first:
                scheduler = KINDS[kind](optimizer)
            optimizer.load_state_dict(of_optimizer)
            if not scheduler_first:
                scheduler = KINDS[kind](optimizer)
            scheduler.load_state_dict(of_scheduler)
        optimizer.step()
        scheduler.step()
    return optimizer.param_groups[0]["lr"]


seen = {}
for kind in KINDS:
    once, often = (10,), (10, 20, 30)
    rates = last_rate(kind, once), last_rate(kind, often), last_rate(kind, often, scheduler_first=True)
    seen[kind] = [rate / last_rate(kind) for rate in rates]
    print(f"{kind + ':':32}", *(f"{share:.3f}" for share in seen[kind]))
shrunk = [kind for kind, (once, often, _) in seen.items() if once < 0.2 and often < 0.2]
right = all(abs(share - 1) < 1e-6 for kind, shares in seen.items() for share in (shares[2:] if kind in shrunk else shares))
raise SystemExit(not (right and shrunk == list(KINDS)[2:]))
PY
"$folder/venv/bin/python" -W ignore "$folder/resume.py"
