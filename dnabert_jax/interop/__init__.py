"""To and from the rest of the world."""
