#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.15.0.
#
# To train with gradients of several batches, each forward and backward pass goes into `with accelerator.accumulate(network):`,
# and Accelerate lets the optimizer pass by until so many batches have been. A GAN has two networks, and one would give each
# its own `accumulate` within the same batch, with its name. The name only tells which gradients to synchronise; there is one
# counter for all, which moves at each `with`, so twice a batch. With an even number of batches to accumulate, the
# discriminator, first in each batch, always has an odd count: its optimizer never steps but at the end of the data, and the
# generator's steps twice as often as asked, with gradients of half the size. The other order leaves the generator as it was.
# With an odd number it is right, but for the end of the data, so that 1 and 3 look well in a test. Nothing is said.
# One `accumulate(discriminator, generator)` around the whole batch counts as it should.
#
# Output seen (an epoch of 48 batches; in how many the weights changed):
#   batches to accumulate           1   2   3   4   6   8
#   expected                       48  24  16  12   8   6
#   two, the discriminator first   48   1  17   1   1   1
#   two, the generator second      48  48  16  24  16  12
#   one for both, discriminator    48  24  16  12   8   6
#   one for both, generator        48  24  16  12   8   6
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'accelerate==1.15.0' 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/accumulate.py" <<'PY'
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch.nn.functional import softplus
from torch.utils.data import DataLoader

torch.set_num_threads(1)
COUNTS, BATCHES = (1, 2, 3, 4, 6, 8), 48


class Side:
    """A network, its optimizer, and in how many batches it changed."""

    def __init__(self, accelerator, network):
        optimizer = torch.optim.SGD(network.parameters(), 0.01)
        self.network, self.optimizer = accelerator.prepare(network, optimizer)
        self.accelerator, self.changed = accelerator, 0

    def learn(self, loss):
        before = torch.cat([p.detach().flatten().clone() for p in self.network.parameters()])
        self.accelerator.backward(loss, inputs=list(self.network.parameters()))
        self.optimizer.step()
        self.optimizer.zero_grad()
        after = torch.cat([p.detach().flatten() for p in self.network.parameters()])
        self.changed += not torch.equal(before, after)


def epoch(count, together):
    """In how many batches the discriminator and the generator changed."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=count)
    data = accelerator.prepare(DataLoader(torch.randn(BATCHES * 8, 2), batch_size=8))
    d, g = Side(accelerator, torch.nn.Linear(2, 1)), Side(accelerator, torch.nn.Linear(4, 2))
    for real in data:
        fake = g.network(torch.randn(8, 4))
        with accelerator.accumulate(d.network, g.network) if together else nullcontext():
            with nullcontext() if together else accelerator.accumulate(d.network):
                d.learn(softplus(-d.network(real)).mean() + softplus(d.network(fake.detach())).mean())
            with nullcontext() if together else accelerator.accumulate(g.network):
                g.learn(softplus(-d.network(fake)).mean())
    return d.changed, g.changed


expected = [BATCHES // count for count in COUNTS]
apart = list(zip(*(epoch(count, together=False) for count in COUNTS)))
both = list(zip(*(epoch(count, together=True) for count in COUNTS)))
rows = {
    "batches to accumulate": COUNTS,
    "expected": expected,
    "two, the discriminator first": apart[0],
    "two, the generator second": apart[1],
    "one for both, discriminator": both[0],
    "one for both, generator": both[1],
}
for name, numbers in rows.items():
    print(f"{name:29}", *(f"{number:3}" for number in numbers))
even = [place for place, count in enumerate(COUNTS) if count % 2 == 0]
never = all(apart[0][place] == 1 and apart[1][place] == 2 * expected[place] for place in even)
raise SystemExit(not (never and all(list(row) == expected for row in both)))
PY
"$folder/venv/bin/python" -W ignore "$folder/accumulate.py"
