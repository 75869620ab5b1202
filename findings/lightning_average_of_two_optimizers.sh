#!/usr/bin/env bash
# lightning 2.6.6, torch 2.15.0.
#
# `EMAWeightAveraging(update_every_n_steps=10)` is to put the weights into the average at every tenth step, and gives the average
# back as the module's weights when the training ends. A step, to it, is one that `trainer.global_step` counts, from 0 on: one of
# any optimizer. A GAN has two, by manual optimization, so that the last step of a batch always has an odd number, and
# the callback looks only there. With an even number nothing is ever averaged: at the end of the training its weights are
# replaced by those of its beginning, in validation likewise, and no word is said. With an odd one it is as if that many
# BATCHES had been asked for. Where the discriminator has five steps for the generator's one, an even number works, at
# irregular batches. `ModelCheckpoint(every_n_train_steps=)` counts likewise, and saves twice as often for even numbers.
# Way out: a callback whose `should_update` counts batches itself.
#
# Output seen (24 batches; after which of them the average was updated; whether the generator ends as it began):
#   every  1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24, as it began: False
#   every  2: never, as it began: True
#   every  3: 2 5 8 11 14 17 20 23, as it began: False
#   every  4: never, as it began: True
#   every  5: 3 8 13 18 23, as it began: False
#   every 10: never, as it began: True
#   every  4, five steps of the discriminator for one: 4 7 14 17 24, as it began: False
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'lightning==2.6.6' 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/average.py" <<'PY'
import logging
import os
import warnings

os.environ["CUDA_VISIBLE_DEVICES"] = ""
warnings.simplefilter("ignore")
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.set_num_threads(1)


class Gan(LightningModule):
    """A generator's step after each `critic` of the discriminator's."""

    def __init__(self, critic):
        super().__init__()
        self.automatic_optimization = False
        self.critic, self.g, self.d = critic, nn.Linear(2, 2), nn.Linear(2, 1)

    def configure_optimizers(self):
        return [torch.optim.Adam(network.parameters(), 0.1) for network in (self.g, self.d)]

    def step(self, optimizer, loss):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def training_step(self, real, index):
        g_optimizer, d_optimizer = self.optimizers()
        fake = self.g(torch.randn_like(real))
        self.step(d_optimizer, (self.d(fake.detach()) - self.d(real)).mean())
        if index % self.critic == 0:
            self.step(g_optimizer, -self.d(fake).mean())


class Watched(EMAWeightAveraging):
    """Keeps after which batches the average was updated."""

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        before = int(self._average_model.n_averaged)
        super().on_train_batch_end(trainer, module, outputs, batch, index)
        if int(self._average_model.n_averaged) > before:
            at.append(index + 1)


seen = {}
for every, critic in ((1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (10, 1), (4, 5)):
    torch.manual_seed(0)
    at, gan = [], Gan(critic)
    begun = gan.g.weight.detach().clone()
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[Watched(decay=0.9, update_every_n_steps=every)], **quiet
    )
    trainer.fit(gan, torch.utils.data.DataLoader(torch.randn(24, 2)))
    same = torch.equal(begun, gan.g.weight)
    seen[every, critic] = not at, same
    how = ", five steps of the discriminator for one" if critic > 1 else ""
    print(f"every {every:2}{how}: {' '.join(map(str, at)) or 'never'}, as it began: {same}")
wrong = {pair for pair, (never, same) in seen.items() if never and same}
raise SystemExit(not (wrong == {(2, 1), (4, 1), (10, 1)} and sum(map(any, seen.values())) == 3))
PY
"$folder/venv/bin/python" -W ignore "$folder/average.py" 2> >(grep -v -i warning >&2)
