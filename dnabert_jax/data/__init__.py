"""Rows on disk and the way from there to batches; no JAX."""
