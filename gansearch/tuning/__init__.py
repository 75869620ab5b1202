"""Which configurations are tried, and where: Optuna proposes, Ray Tune runs, the journal remembers."""
