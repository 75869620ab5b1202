"""Trainings of one architecture as one, stacked on a leading axis: `resources.lanes`.

`FusedPack` carries them behind the protocol of `gansearch.training.pack`; `step` trains them; `side` is
one network of all of them, with its optimizer (`optimizers`); `shape` says which go together.
"""
