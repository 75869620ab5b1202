#!/usr/bin/env bash
# torch 2.15.0.
#
# A GAN's networks are made of layers and then drawn anew: orthogonal (BigGAN), or normal with a deviation of 0.02 (DCGAN), by
# `network.apply` and a function that writes into each `layer.weight`. Where a layer has spectral norm or weight norm by
# `torch.nn.utils.parametrizations`, that attribute is computed when it is read: what is written into it, by
# `torch.nn.init`, `copy_` or a slice, goes into a tensor that is dropped at once, and the layer keeps the weights that it was
# made with. No error, no warning, and the bias, written beside it, is changed. With the older `torch.nn.utils.spectral_norm`
# the same lines work, until the layer was used; torch's advice is to put the newer one in its place. With the older
# `weight_norm` they look well until the layer is used. An assignment, `layer.weight = drawn`, works with the newer ones, or to
# draw before the norm is put on. A search over initialisations finds that they do not matter. gansearch draws first.
#
# Output seen (the smallest singular value by the largest after `init.orthogonal_`, in evaluation after one pass; 1 if orthogonal):
#   no norm:                        1.00
#   older spectral norm:            1.00
#   spectral norm:                  0.00
#   spectral norm, assigned:        1.00
#   spectral norm, drawn before it: 1.00
#   older weight norm:              0.00
#   weight norm:                    0.00
#   weight norm, assigned:          1.00
#   weight norm, drawn before it:   1.00
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/init.py" <<'PY'
import torch
from torch import nn
from torch.nn import utils
from torch.nn.utils import parametrizations

torch.set_num_threads(1)


def ratio(norm, how="written"):
    """The smallest singular value by the largest of a layer that was drawn orthogonal, as it is used in evaluation."""
    torch.manual_seed(0)
    layer, drawn = nn.Linear(64, 64), nn.init.orthogonal_(torch.empty(64, 64))
    if how == "before":
        nn.init.orthogonal_(layer.weight)
    layer = norm(layer)
    if how == "written":
        nn.init.orthogonal_(layer.weight)
    if how == "assigned":
        layer.weight = drawn
    with torch.no_grad():
        layer(torch.randn(2, 64))
        values = torch.linalg.svdvals(layer.eval()(torch.eye(64)) - layer.bias)
    return float(values[-1] / values[0])


seen = {
    "no norm": ratio(lambda layer: layer),
    "older spectral norm": ratio(utils.spectral_norm),
    "spectral norm": ratio(parametrizations.spectral_norm),
    "spectral norm, assigned": ratio(parametrizations.spectral_norm, "assigned"),
    "spectral norm, drawn before it": ratio(parametrizations.spectral_norm, "before"),
    "older weight norm": ratio(utils.weight_norm),
    "weight norm": ratio(parametrizations.weight_norm),
    "weight norm, assigned": ratio(parametrizations.weight_norm, "assigned"),
    "weight norm, drawn before it": ratio(parametrizations.weight_norm, "before"),
}
for name, value in seen.items():
    print(f"{name + ':':31} {value:.2f}")
lost = [name for name, value in seen.items() if value < 0.1]
kept = [name for name, value in seen.items() if value > 0.99]
expected = ["spectral norm", "older weight norm", "weight norm"]
raise SystemExit(not (lost == expected and len(lost) + len(kept) == len(seen)))
PY
"$folder/venv/bin/python" -W ignore "$folder/init.py"
