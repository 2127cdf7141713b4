"""Labelled data sets derived from a genome and its annotation or peaks: `prepare promoters`, `splice` and `tfbs`."""
