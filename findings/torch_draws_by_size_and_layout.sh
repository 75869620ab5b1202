#!/usr/bin/env bash
# torch 2.15.0 on a CPU, x86-64.
#
# Two things that a seed is thought to fix, and does not, for normal numbers:
# - `torch.randn(n)` with one seed begins with the same numbers for every n that is a multiple of 16 from 16 on. For every other
#   size the last 16 are drawn anew, and below 16 all are other ones: of 20 numbers 4 are those that 64 would begin with, of 8 none.
#   (`torch.rand` begins with the same for each n, as NumPy's generators do.) So the latents of the first samples depend on how
#   many are drawn at once, wherever their number times their length is no multiple of 16: points on a plane, a last batch.
# - A tensor that is not contiguous is filled by another method. `network.to(memory_format=torch.channels_last)`, done before
#   the weights are initialised in place of after it, gives another network for the same seed; so does `randn_like` of
#   such a batch, for instance noise on the critic's input.
#
# Output seen:
#   numbers in common with the 64 drawn at once: 0 of 8, 16 of 16, 1 of 17, 4 of 20, 32 of 32, 24 of 40
#   the same of uniform numbers: 8 of 8, 16 of 16, 17 of 17, 20 of 20, 32 of 32, 40 of 40
#   weights initialised before and after channels_last are equal: False
#   noise like a batch and like its channels_last copy is equal: False
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/draw.py" <<'PY'
import torch

SIZES = (8, 16, 17, 20, 32, 40)


def in_common(draw):
    """Of each size, how many numbers are those with which a draw of 64 begins."""
    many, *fewer = (draw(size, generator=torch.Generator().manual_seed(0)) for size in (64, *SIZES))
    return [int((few == many[: len(few)]).sum()) for few in fewer]


def told(counts):
    return ", ".join(f"{count} of {size}" for count, size in zip(counts, SIZES))


def weights(layout_first):
    layer = torch.nn.Conv2d(8, 16, 3)
    if layout_first:
        layer.to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    torch.nn.init.normal_(layer.weight, std=0.02)
    return layer.to(memory_format=torch.channels_last).weight


def noise(layout):
    batch = torch.zeros(4, 3, 8, 8).to(memory_format=layout)
    torch.manual_seed(1)
    return torch.randn_like(batch)


normal, uniform = in_common(torch.randn), in_common(torch.rand)
same_weights = torch.equal(weights(False), weights(True))
same_noise = torch.equal(noise(torch.contiguous_format), noise(torch.channels_last))
print("numbers in common with the 64 drawn at once:", told(normal))
print("the same of uniform numbers:", told(uniform))
print("weights initialised before and after channels_last are equal:", same_weights)
print("noise like a batch and like its channels_last copy is equal:", same_noise)
as_seen = normal == [0, 16, 1, 4, 32, 24] and uniform == list(SIZES)
raise SystemExit(not (as_seen and not same_weights and not same_noise))
PY
"$folder/venv/bin/python" "$folder/draw.py"
