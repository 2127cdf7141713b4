"""A trained model, read base by base: attention, attributions and mutations, and the motifs in them."""
