"""A training's step as compiled code: `resources.compile`.

`whole` is the step of K trainings as one function of tensors, gradients and updates included; `code`
has torch's Inductor compile it, keeps the result for all trainings of that shape, and holds it against
the same function uncompiled; `step` trains by it, behind the protocol of `gansearch.training.stacked`;
`why` says which configurations are not compiled.
"""
