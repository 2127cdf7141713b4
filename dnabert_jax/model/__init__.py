"""The network: a BERT over packed rows, in Flax NNX."""
