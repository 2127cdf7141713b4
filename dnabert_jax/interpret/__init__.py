"""A trained model, read: attention, attributions and mutations."""
