"""What is written down: the durable truth of a study, and how it is stored."""
