#!/usr/bin/env bash
# torch 2.15.0.
#
# `Module.load_state_dict` copies values into the module's own tensors. One would guess the same of an optimizer's: but
# `two.load_state_dict(one.state_dict())` makes `two` hold the very tensors of `one`, moments and the count of steps,
# wherever dtype and device are the same, though it copies the groups' options. From there on each step of one also moves the
# moments and the count of the other, in place. Who copies a member of a population over another in memory (population based training),
# or goes on from one training in two ways, gets trainings that sway each other, and no word of it; through a file they do not.
# Likewise a learning rate given as a tensor, as compiled optimizers want it: two optimizers that are given the same one,
# each with a scheduler, have it decay twice.
#
# Here: a linear layer learns from one batch for ten steps, is copied with its optimizer, and both go on for ten steps in turn.
#
# Output seen (how far the weights are from those of a training without a copy, and how many steps the optimizer has counted):
#   SGD with momentum, copied as it is: 0.22
#   SGD with momentum, by a deep copy:  0.00
#   Adam, copied as it is: 0.23, 30 steps
#   Adam, by a deep copy:  0.00, 20 steps
#   Muon, copied as it is: 0.14
#   Muon, by a deep copy:  0.00
#   a learning rate of 1 for both, after one halving by each scheduler: 0.25 0.25
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/copies.py" <<'PY'
import copy

import torch
from torch import nn, optim

torch.set_num_threads(1)
KINDS = {
    "SGD with momentum": lambda network: optim.SGD(network.parameters(), 0.05, momentum=0.9),
    "Adam": lambda network: optim.Adam(network.parameters(), 0.05),
    "Muon": lambda network: optim.Muon(network.parameters(), 0.05),
}


def went_on(kind, passed=None):
    """The weights after twenty steps, with or without a copy made after ten, and the steps that Adam has counted."""
    torch.manual_seed(0)
    inputs, goals = torch.randn(64, 8), torch.randn(64, 4)
    network, other = nn.Linear(8, 4, bias=False), nn.Linear(8, 4, bias=False)
    optimizer, another = KINDS[kind](network), KINDS[kind](other)

    def learn(network, optimizer):
        optimizer.zero_grad()
        (network(inputs) - goals).square().mean().backward()
        optimizer.step()

    for step in range(20):
        if step == 10 and passed:
            other.load_state_dict(network.state_dict())
            another.load_state_dict(passed(optimizer.state_dict()))
        learn(network, optimizer)
        if step >= 10 and passed:
            learn(other, another)
    return network.weight.detach(), optimizer.state[network.weight].get("step")


as_seen = []
for kind in KINDS:
    alone, _ = went_on(kind)
    for name, passed in (("copied as it is", lambda state: state), ("by a deep copy", copy.deepcopy)):
        weights, steps = went_on(kind, passed)
        off = float((weights - alone).norm() / alone.norm())
        print(f"{kind}, {name + ':':16} {off:.2f}" + (f", {int(steps)} steps" if steps is not None else ""))
        as_seen.append(off > 0.05 if name == "copied as it is" else off == 0)
rate = torch.tensor(1.0)
optimizers = [optim.Adam(nn.Linear(2, 2).parameters(), lr=rate) for _ in range(2)]
schedulers = [optim.lr_scheduler.ExponentialLR(optimizer, 0.5) for optimizer in optimizers]
for each in (*optimizers, *schedulers):
    each.step()
rates = [float(optimizer.param_groups[0]["lr"]) for optimizer in optimizers]
print("a learning rate of 1 for both, after one halving by each scheduler:", *rates)
raise SystemExit(not (all(as_seen) and rates == [0.25, 0.25]))
PY
"$folder/venv/bin/python" -W ignore "$folder/copies.py"
