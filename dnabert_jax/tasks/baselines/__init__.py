"""What a network has to beat, on the same splits."""
