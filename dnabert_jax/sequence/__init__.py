"""DNA text to k-mer ids and back, vectorised with numpy; no JAX."""
