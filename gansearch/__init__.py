"""gansearch: hyperparameter search and stability studies for GANs."""

__version__ = "0.1.0"
