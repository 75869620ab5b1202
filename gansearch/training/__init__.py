"""How one trial trains: the loop, the health rules, checkpoints. Knows no Ray, Optuna or MLflow."""
