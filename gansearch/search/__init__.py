"""What is tried, and who goes on: proposer, samplers, pruners, selection."""
