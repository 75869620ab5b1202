"""The part of `gansearch.testing` that is about pruners, samplers, metrics and optimizers."""
