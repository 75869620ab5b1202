#!/usr/bin/env bash
# torch 2.15.0, diffusers 0.42.1, torch-ema 0.3, ema-pytorch 0.8.3.
#
# A generator is shown by an average of its weights, and papers say with which decay: 0.999 or 0.9999. One would guess that
# the same decay is the same average, whichever package keeps it.
# - torch's `AveragedModel` takes the decay from its second update on, and remembers the first weights for very long.
# - diffusers' `EMAModel(use_ema_warmup=False)`, which is the default, warms up all the same: its decay at step n is at most
#   (1 + n) / (10 + n), so that 0.9999 is reached after 90,000 steps; `use_ema_warmup=True` only takes another curve.
# - torch-ema does the same, and says so.
# - ema-pytorch's `EMA(beta=0.999)` counts the decay by every tenth step (`update_every`), follows for a hundred steps and warms
#   up by another curve. It is far behind the others in the end, and looked fresher than torch's at first.
# So a decay out of a paper, or of a search, holds for one package and one length of training.
#
# Here: a weight that is as large as the step's number; how many steps its average lies behind.
#
# Output seen:
#   decay   steps  torch  diffusers  torch-ema  ema-pytorch
#   0.999     300    258         30         30          136
#   0.999    3000    949        300        300         1302
#   0.999   30000    999        999        999         7786
#   0.9999    300    295         30         30          136
#   0.9999   3000   2591        300        300         1302
#   0.9999  30000   9501       2998       2998         7786
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
packages=('diffusers==0.42.1' 'torch-ema==0.3' 'ema-pytorch==0.8.3')
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'numpy==2.4.6' "${packages[@]}" 2>/dev/null
cat > "$folder/behind.py" <<'PY'
import torch
from diffusers.training_utils import EMAModel
from ema_pytorch import EMA
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_ema import ExponentialMovingAverage

torch.set_num_threads(1)


def by_torch(network, decay):
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    return lambda: average.update_parameters(network), average.module.weight


def by_diffusers(network, decay):
    average = EMAModel(network.parameters(), decay=decay, use_ema_warmup=False)
    return lambda: average.step(network.parameters()), average.shadow_params[0]


def by_torch_ema(network, decay):
    average = ExponentialMovingAverage(network.parameters(), decay=decay)
    return average.update, average.shadow_params[0]


def by_ema_pytorch(network, decay):
    average = EMA(network, beta=decay)
    return average.update, average.ema_model.weight


def behind(keeper, decay, lengths):
    """How many steps an average lies behind its weight, after so many."""
    network, found = torch.nn.Linear(1, 1, bias=False), {}
    torch.nn.init.zeros_(network.weight)
    update, average = keeper(network, decay)
    for step in range(1, max(lengths) + 1):
        torch.nn.init.constant_(network.weight, step)
        update()
        if step in lengths:
            found[step] = round(step - average.item())
    return found


KEEPERS = {"torch": by_torch, "diffusers": by_diffusers, "torch-ema": by_torch_ema, "ema-pytorch": by_ema_pytorch}
LENGTHS = (300, 3000, 30000)
print("decay   steps", *KEEPERS, sep="  ")
seen = {}
for decay in (0.999, 0.9999):
    kept = {name: behind(keeper, decay, LENGTHS) for name, keeper in KEEPERS.items()}
    for steps in LENGTHS:
        seen[decay, steps] = row = [found[steps] for found in kept.values()]
        print(f"{decay:<6}  {steps:5}", *(f"{lag:{len(name)}}" for name, lag in zip(KEEPERS, row)), sep="  ")
plain, warmed, same, other = seen[0.9999, 3000]
raise SystemExit(not (plain > 8 * warmed and warmed == same and other > 4 * warmed and seen[0.999, 30000][3] > 7000))
PY
"$folder/venv/bin/python" -W ignore "$folder/behind.py" 2>/dev/null
