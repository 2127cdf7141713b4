"""What a run reports of itself."""
