#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.15.0.
#
# To measure a generator while it trains is thought to leave the training as it is. `compute()` of torchmetrics' KID, which
# draws subsets, and of its Inception Score, which shuffles, draw from torch's global generator, and have no seed or generator of
# their own. So each measurement moves all latents and batches after it: with the same seed a training that is
# measured more often, or by one metric more, ends with other weights, and a trial that is pruned or resumed between
# two measurements cannot be played again by itself. FID draws nothing; torch-fidelity draws KID's subsets by a seed.
#
# Output seen (20 steps with one seed, measured at every 10th or 5th; are the weights those of an unmeasured training?):
#   FrechetInceptionDistance: True True
#   KernelInceptionDistance: False False
#   InceptionScore: False False
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'torchmetrics==1.9.0' 'torch-fidelity==0.4.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/measure.py" <<'PY'
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

torch.set_num_threads(1)
REAL = torch.randint(256, (64, 3, 4, 4), dtype=torch.uint8)


class Features(torch.nn.Module):
    """Stands for Inception, which would have to be downloaded."""

    num_features = 16

    def forward(self, images):
        return images.flatten(1)[:, :16].float()


@torch.no_grad()
def measure(metric, images):
    metric.reset()
    if isinstance(metric, InceptionScore):
        metric.update(images)
    else:
        metric.update(REAL, real=True)
        metric.update(images, real=False)
    metric.compute()


def trained(metric, every):
    """The weights of a generator after 20 steps."""
    torch.manual_seed(0)
    generator, shown = torch.nn.Linear(8, 48), torch.randn(64, 8)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    for step in range(1, 21):
        loss = (generator(torch.randn(16, 8)).mean(0) - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if metric and step % every == 0:
            measure(metric, (generator(shown).sigmoid() * 255).byte().view(64, 3, 4, 4))
    return generator.weight.detach()


METRICS = (
    FrechetInceptionDistance(feature=Features(), input_img_size=(3, 4, 4)),
    KernelInceptionDistance(feature=Features(), subset_size=20),
    InceptionScore(feature=Features()),
)
unmeasured, seen = trained(None, 1), []
for metric in METRICS:
    seen.append([torch.equal(trained(metric, every), unmeasured) for every in (10, 5)])
    print(f"{type(metric).__name__}:", *seen[-1])
raise SystemExit(seen != [[True, True], [False, False], [False, False]])
PY
"$folder/venv/bin/python" -W ignore "$folder/measure.py" 2>/dev/null
