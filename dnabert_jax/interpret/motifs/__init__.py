"""Motifs in what a model attends to: the pipeline of DNABERT-viz, from scores of bases to position weight matrices."""
