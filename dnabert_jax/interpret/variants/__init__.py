"""Variants of a VCF file: what each does to what a model says, predicts or attends to."""
