#!/usr/bin/env bash
# torch 2.15.0, torchvision 0.29.2.
#
# torch's `AveragedModel` with `use_buffers=True`, advised for networks with batch norm, averages all buffers, whole numbers
# too, and cuts off what comes after the point. One would guess that a buffer which never changes stays what it is. But
# `decay * n + (1 - decay) * n` is at times a little below n, in float32, and then n - 1 is stored. With a decay of 0.9999
# or 0.9995 every fifth or third index is off by one after a few steps, with 0.99 and 0.999 none: so an averaged network
# with windows of attention (indices into its table of positions), or any that permutes or looks up by a buffer, computes
# something else than its weights say, and only for some decays. Without `use_buffers` they are copied, as in
# timm's average always.
#
# Here: torchvision's Swin transformer, whose weights do not change; ten updates of its average.
#
# Output seen (indices of positions that are off, and how far the output is from that of the same weights):
#   decay 0.9:    7932 of 28812, 1e-03
#   decay 0.99:   0 of 28812, 0
#   decay 0.999:  0 of 28812, 0
#   decay 0.9995: 9384 of 28812, 1e-03
#   decay 0.9999: 5004 of 28812, 7e-04
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'torchvision==0.29.2' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/average.py" <<'PY'
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models import swin_t

torch.set_num_threads(1)
torch.manual_seed(0)
network, images = swin_t(weights=None).eval(), torch.randn(2, 3, 64, 64)


def indices(module):
    found = [buffer for name, buffer in module.named_buffers() if name.endswith("relative_position_index")]
    return torch.cat(found)


def averaged(decay):
    """Of an average of ten times the same: the wrong indices, the output's relative error, whether weights are equal."""
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for _ in range(10):
        average.update_parameters(network)
    pairs = zip(average.module.parameters(), network.parameters())
    same = all(torch.equal(ours, theirs) for ours, theirs in pairs)
    with torch.no_grad():
        off = (average.module(images) - network(images)).norm() / network(images).norm()
    return int((indices(average.module) != indices(network)).sum()), float(off), same


seen = {decay: averaged(decay) for decay in (0.9, 0.99, 0.999, 0.9995, 0.9999)}
for decay, (wrong, off, _) in seen.items():
    print(f"decay {f'{decay}:':7} {wrong} of {len(indices(network))}, {f'{off:.0e}' if off else '0'}")
moved = [decay for decay, (wrong, off, _) in seen.items() if wrong and off]
raise SystemExit(not (moved == [0.9, 0.9995, 0.9999] and all(same for _, _, same in seen.values())))
PY
"$folder/venv/bin/python" -W ignore "$folder/average.py"
