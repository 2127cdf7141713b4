"""Reading weights takes the memory of one tensor, not of the file."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from dnabert_jax.interop.weights import open_weights


def test_a_file_is_not_kept_in_memory_by_what_was_read_of_it(tmp_path: Path) -> None:
    tensors = {name: np.full((3, 5), number, np.float32) for number, name in enumerate(("first", "second"))}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    (files,) = open_weights(tmp_path)
    for name, tensor in tensors.items():
        assert np.array_equal(files[name], tensor)
    # Mapped pages count as memory of the process as long as the file is open.
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert files.shapes == {"first": (3, 5), "second": (3, 5)}
