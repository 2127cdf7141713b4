"""What predictions come to: metrics with intervals, collapse, curves, results on disk."""
