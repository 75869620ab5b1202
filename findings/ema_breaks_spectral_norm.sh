#!/usr/bin/env bash
# torch 2.15.0, ema-pytorch 0.8.3.
#
# A generator with spectral norm in its layers (SAGAN, BigGAN) is shown by an average of its weights, whose layers one would take
# to have a norm of 1, like those of the generator itself. Spectral norm divides by u W v and keeps the two vectors as buffers;
# in evaluation they do not change. torch's `AveragedModel(use_buffers=True)`, advised for networks with batch norm, averages
# them, and so does ema-pytorch by default. An average of unit vectors that turn is shorter than 1, and u W v may come near
# to 0: the layers of the average have norms of 2 to 11 here, and nobody is told. Where the vectors are copied
# (`use_buffers=False`, or an average of parameters alone) they are those of other weights: up to 2 here, early on.
# Some passes of the average in training mode, without gradients, bring it back to 1, where nothing else learns in them.
# gansearch gives the average a copy of the live generator's vectors.
#
# Here: a small GAN of points on a circle, decay 0.999; the norm of each of the generator's three layers with spectral norm.
#
# Output seen (step, then the norms; other machines round otherwise):
#    500  the generator itself        1.05   1.00   1.00
#    500  torch, buffers averaged     2.00   2.70   3.38
#    500  ema-pytorch                 5.73   2.46   2.87
#    500  torch, buffers copied       1.15   1.79   1.71
#    500  the same after 50 passes    1.00   1.00   1.00
#   1000  the generator itself        1.05   1.00   1.00
#   1000  torch, buffers averaged     4.08   4.72   5.09
#   1000  ema-pytorch                 4.68   1.25   1.71
#   1000  torch, buffers copied       1.06   1.88   2.00
#   1000  the same after 50 passes    1.00   1.00   1.00
#   2000  the generator itself        1.02   1.00   1.01
#   2000  torch, buffers averaged    11.50   2.61   3.44
#   2000  ema-pytorch                 3.01   1.44   2.14
#   2000  torch, buffers copied       1.05   1.10   1.36
#   2000  the same after 50 passes    1.00   1.02   1.00
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'ema-pytorch==0.8.3' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/average.py" <<'PY'
import copy

import torch
from ema_pytorch import EMA
from torch import nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.set_num_threads(1)
torch.manual_seed(0)
DECAY, WIDTH, LATENTS = 0.999, 64, 16


def mlp(*sizes):
    layers = [spectral_norm(nn.Linear(*pair)) for pair in zip(sizes, sizes[1:])]
    return nn.Sequential(*[module for layer in layers for module in (layer, nn.LeakyReLU(0.2))][:-1])


def points(count):
    angles = torch.randint(8, (count,)) * torch.pi / 4
    return torch.stack([angles.cos(), angles.sin()], 1) + 0.02 * torch.randn(count, 2)


@torch.no_grad()
def norms(network, passes=0):
    """The layers' largest singular values in evaluation, after some passes in training mode."""
    network = copy.deepcopy(network).train()
    for _ in range(passes):
        network(torch.randn(2, LATENTS))
    layers = [layer for layer in network.eval()[0] if isinstance(layer, nn.Linear)]
    return [float(torch.linalg.matrix_norm(layer.weight, 2)) for layer in layers]


g = nn.Sequential(mlp(LATENTS, WIDTH, WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
d = mlp(2, WIDTH, WIDTH, 1)
g_optimizer, d_optimizer = (torch.optim.Adam(side.parameters(), 2e-4, betas=(0.0, 0.9)) for side in (g, d))
averaged, copied = (
    AveragedModel(g, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=use) for use in (True, False)
)
ema = EMA(g, beta=DECAY, update_every=1, update_after_step=0)
largest = {}
for step in range(1, 2001):
    fake = g(torch.randn(64, LATENTS))
    loss = relu(1 - d(points(64))).mean() + relu(1 + d(fake.detach())).mean()
    d_optimizer.zero_grad()
    loss.backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    (-d(fake).mean()).backward()
    g_optimizer.step()
    averaged.update_parameters(g)
    copied.update_parameters(g)
    ema.update()
    if step in (500, 1000, 2000):
        rows = {
            "the generator itself": norms(g),
            "torch, buffers averaged": norms(averaged.module),
            "ema-pytorch": norms(ema.ema_model),
            "torch, buffers copied": norms(copied.module),
            "the same after 50 passes": norms(copied.module, 50),
        }
        for name, values in rows.items():
            print(f"{step:4}  {name:25}", *(f"{value:6.2f}" for value in values))
            largest[name] = max(largest.get(name, 0), *values)
itself, buffers, other, copies, mended = largest.values()
raise SystemExit(not (max(itself, mended) < 1.2 and buffers > 4 and other > 2 and copies > 1.3))
PY
"$folder/venv/bin/python" -W ignore "$folder/average.py"
