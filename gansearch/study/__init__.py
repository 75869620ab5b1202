"""What is asked: study files, search spaces, trial configurations, records. Loads no torch."""
