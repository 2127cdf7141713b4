"""What a model attends to and reacts to, read off it base by base, and the motifs in that."""
