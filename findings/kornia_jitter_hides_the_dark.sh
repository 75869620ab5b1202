#!/usr/bin/env bash
# kornia 0.9.0, torch 2.15.0.
#
# What a discriminator sees may be changed at random, real and generated images alike (DiffAugment), by kornia's differentiable
# augmentations. A generator ends in tanh, so that images are in [-1, 1], and flips, noise and grey take them as they are. What
# jitters colours ends by clipping to [0, 1], without a word: the discriminator sees the darker half of all values as one black, in
# real and generated images, and the generator gets no gradient for it, so that dark places may hold anything. A jitter by
# nothing does it as well. `RandomBrightness` and `RandomContrast` have `clip_output=False`; for the others change the range
# before and after.
# Nor is it over in evaluation: they are modules, but `eval()` does not turn them off, as it does dropout. A discriminator that
# holds one, or a network whose features a metric takes, is random there, too.
#
# Output seen (values in [-1, 1], evenly: how many get no gradient; whether two passes in evaluation differ):
#   RandomHorizontalFlip:                0 %, True
#   RandomGaussianNoise:                 0 %, True
#   RandomGrayscale:                     0 %, False
#   ColorJitter by nothing:             50 %, False
#   ColorJitter:                        50 %, True
#   RandomBrightness:                   55 %, True
#   RandomBrightness, clip_output=False: 0 %, True
#   RandomSaturation:                   50 %, True
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'kornia==0.9.0' 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/jitter.py" <<'PY'
import kornia.augmentation as augmentation
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
AUGMENTATIONS = {
    "RandomHorizontalFlip": augmentation.RandomHorizontalFlip(p=0.5),
    "RandomGaussianNoise": augmentation.RandomGaussianNoise(std=0.1, p=1.0),
    "RandomGrayscale": augmentation.RandomGrayscale(p=1.0),
    "ColorJitter by nothing": augmentation.ColorJitter(p=1.0),
    "ColorJitter": augmentation.ColorJitter(0.2, 0.2, 0.2, 0.1, p=1.0),
    "RandomBrightness": augmentation.RandomBrightness((0.8, 1.2), p=1.0),
    "RandomBrightness, clip_output=False": augmentation.RandomBrightness((0.8, 1.2), p=1.0, clip_output=False),
    "RandomSaturation": augmentation.RandomSaturation((0.8, 1.2), p=1.0),
}
images = (2 * torch.rand(64, 3, 16, 16) - 1).requires_grad_()
seen = {}
for name, change in AUGMENTATIONS.items():
    (gradient,) = torch.autograd.grad(change(images).square().sum(), images)
    change.eval()
    seen[name] = float((gradient == 0).float().mean()), not torch.equal(change(images), change(images))
    print(f"{name + ':':36}{f'{seen[name][0]:.0%}'[:-1]:>2} %, {seen[name][1]}")
hidden = [name for name, (share, _) in seen.items() if share > 0.4]
clear = [name for name, (share, _) in seen.items() if share < 0.01]
still = [name for name, (_, differ) in seen.items() if not differ]
kinds = ["ColorJitter by nothing", "ColorJitter", "RandomBrightness", "RandomSaturation"]
as_seen = hidden == kinds and len(hidden) + len(clear) == len(seen) and still == ["RandomGrayscale", kinds[0]]
raise SystemExit(not as_seen)
PY
"$folder/venv/bin/python" -W ignore "$folder/jitter.py"
