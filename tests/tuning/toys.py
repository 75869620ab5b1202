"""Parts that misbehave, named in the tests' studies as a user's own would be."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from gansearch.search.pruners import Never


class BuggyGenerator(nn.Module):
    """Fails in the middle of training, each kind in its way; `death` does once, and leaves a file."""

    def __init__(self, image_shape, latent_size, *, kind: str = "good", once: str = "died"):
        super().__init__()
        self.shape, self.kind, self.once, self.calls = image_shape, kind, Path(once), 0
        self.linear = nn.Linear(latent_size, torch.Size(image_shape).numel())

    def forward(self, latents):
        self.calls += 1
        if self.training and self.kind == "always-death" and self.calls > 5:
            os.kill(os.getpid(), signal.SIGKILL)
        while self.training and self.kind == "hoard":
            self.hoard = [*getattr(self, "hoard", ()), bytearray(os.urandom(2**20)) * 256]
            time.sleep(0.05)
        if self.training and self.calls > 30:
            if self.kind == "bug":
                raise KeyError("a bug of the user's")
            if self.kind == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            if self.kind == "death" and not self.once.exists():
                self.once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(latents).tanh().view(-1, *self.shape)


class SlowGenerator(nn.Module):
    """Takes its time as long as there is a file, for a study to be looked at while it runs."""

    def __init__(self, image_shape, latent_size, *, as_long_as: str):
        super().__init__()
        self.shape, self.file = image_shape, Path(as_long_as)
        self.linear = nn.Linear(latent_size, torch.Size(image_shape).numel())

    def forward(self, latents):
        if self.training and self.file.exists():
            time.sleep(0.03)
        return self.linear(latents).tanh().view(-1, *self.shape)


class Hearing(Never):
    """A pruner that stops nobody, and writes down of whom it is told that an error ended them."""

    def failed(self, number):
        with Path("heard.txt").open("a") as file:
            file.write(f"{number}\n")


class HungryGenerator(nn.Module):
    """Trains on so many images at once, `room`; on more it is out of memory, from the `calls`-th on."""

    def __init__(self, image_shape, latent_size, *, room: int = 4, calls: int = 1):
        super().__init__()
        self.shape, self.room, self.left = image_shape, room, calls
        self.linear = nn.Linear(latent_size, torch.Size(image_shape).numel())

    def forward(self, latents):
        if self.training:
            self.left -= 1
            if len(latents) > self.room and self.left <= 0:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return self.linear(latents).tanh().view(-1, *self.shape)


class Measured:
    """The mean of the samples' own numbers; says which process measures the real ones, and has not
    done so while a file is there.
    """

    features, goal, compares_real = None, "max", True

    def of_real(self, real):
        if len(real.features) > 1000:  # all of them: not `check`'s few
            Path("measured").write_text(str(os.getpid()))
            while Path("unmeasured").exists():
                time.sleep(0.05)
        return {"mean": real.features.double().mean()}

    def __call__(self, fake, real):
        return float(fake.features.double().mean() - real["mean"])
