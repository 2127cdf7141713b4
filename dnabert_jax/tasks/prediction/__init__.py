"""What a model says of sequences, row after row, as files."""
