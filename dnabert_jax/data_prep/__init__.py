"""Offline jobs that make data sets; of dnabert_jax they import what loads no JAX."""
