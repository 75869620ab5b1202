#!/usr/bin/env bash
# torchdata 0.11.0, torch 2.15.0.
#
# `StatefulDataLoader` is torch's loader with a `state_dict`, by which a training that was cut short goes on with the batches that
# it would have had. So it does for the rest of the epoch. Where it was given a generator of its own, the usual way to a shuffle
# that a seed fixes, and has no workers, all epochs after that one are shuffled otherwise than without the
# interruption: each epoch of such a loader draws a number more from the generator than its samples' order takes, a seed for workers
# that it has not, and to resume sets the generator to where it was before both, and draws the order alone.
# To save the generator's state beside it, and set it, changes nothing: the loader sets it again when it is next iterated.
# With workers, or without a generator, the resumed training has the same batches to its end.
#
# Output seen (12 samples in batches of 4; saved in the second of four epochs, after a batch or after its last one; are the rest
# of that epoch, the third and the fourth as without the interruption?):
#   generator, no workers, after a batch:      True False False
#   generator, no workers, after the last:     True False False
#   generator set as it was, after a batch:    True False False
#   no generator, no workers, after a batch:   True True True
#   generator, two workers, after a batch:     True True True
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torchdata==0.11.0' 'torch==2.15.0' 'numpy==2.4.6' 2>/dev/null
cat > "$folder/resume.py" <<'PY'
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

torch.set_num_threads(1)


def made(own, workers, seed):
    """A loader, and the generator that orders its samples."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed) if own else None
    loader = StatefulDataLoader(range(12), 4, shuffle=True, num_workers=workers, generator=generator)
    return loader, generator or torch.default_generator


def epochs(loader, count):
    return [[batch.tolist() for batch in loader] for _ in range(count)]


def resumed(own, workers, batches, set_again):
    """Whether the second to fourth epochs are those of a training that was not interrupted."""
    whole = epochs(made(own, workers, 0)[0], 4)
    first, generator = made(own, workers, 0)
    epochs(first, 1)
    running = iter(first)
    before = [next(running).tolist() for _ in range(batches)]
    list(running) if batches == 3 else None  # the loader learns that the epoch is over
    state, drawn = first.state_dict(), generator.get_state()
    second, generator = made(own, workers, 1)
    second.load_state_dict(state)
    if set_again:
        generator.set_state(drawn)
    rest = epochs(second, 2 if batches == 3 else 3)
    after = [before, *rest] if batches == 3 else [before + rest[0], *rest[1:]]
    return [ours == theirs for ours, theirs in zip(after, whole[1:], strict=True)]


if __name__ == "__main__":
    rows = {
        "generator, no workers, after a batch": (True, 0, 1, False),
        "generator, no workers, after the last": (True, 0, 3, False),
        "generator set as it was, after a batch": (True, 0, 1, True),
        "no generator, no workers, after a batch": (False, 0, 1, True),
        "generator, two workers, after a batch": (True, 2, 1, False),
    }
    seen = {name: resumed(*row) for name, row in rows.items()}
    for name, same in seen.items():
        print(f"{name + ':':42}", *same)
    late, same = [True, False, False], [True, True, True]
    raise SystemExit(list(seen.values()) != [late, late, late, same, same])
PY
"$folder/venv/bin/python" -W ignore "$folder/resume.py"
