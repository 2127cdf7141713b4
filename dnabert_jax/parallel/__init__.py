"""Devices to a mesh, and the logical axes of arrays to its axes."""
