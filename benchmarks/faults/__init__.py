"""What a study survives: see `__main__`."""
