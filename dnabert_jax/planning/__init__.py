"""What a training step would need and cost on accelerators that are not there: compiled ahead of time and read."""
