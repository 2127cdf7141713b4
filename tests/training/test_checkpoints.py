"""Checkpoints: why one could not be written is said as it is, and those of earlier versions are read."""

import errno
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from dnabert_jax.errors import JobError
from dnabert_jax.training.checkpoints import CheckpointMetadata, Checkpoints
from dnabert_jax.training.state import TrainState


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='28']\nmore"), True),
        (OSError(errno.EIO, os.strerror(errno.EIO)), False),
        (RuntimeError("UNAVAILABLE: the devices stopped"), False),
        (RuntimeError(), False),
    ],
    ids=["orbax", "tensorstore", "broken disk", "devices", "no message"],
)
def test_only_a_full_disk_wants_room(
    error: Exception, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ocp.training.Checkpointer, "save_checkpointables_async", fail)
    state = TrainState(jnp.int32(0), {"a": jnp.zeros(2)}, {"m": jnp.zeros(2)})
    with Checkpoints(tmp_path, keep=1) as checkpoints, pytest.raises(JobError) as raised:
        checkpoints.save(state, 1, CheckpointMetadata({}, "", None))
    sentence = str(raised.value)
    assert str(error).partition("\n")[0] in sentence
    assert "--resume" in sentence
    assert ("make room" in sentence) == full


def test_checkpoints_from_before_the_root_was_renamed_are_read(tmp_path: Path) -> None:
    def state(root: str) -> TrainState:
        parameters = {root: {"table": jnp.arange(3.0)}, "head": {"bias": jnp.ones(2)}}
        return TrainState(jnp.int32(7), parameters, optax.adam(0.1).init(parameters))

    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state("bert"), 7, CheckpointMetadata({}, "", None))
    with Checkpoints(tmp_path) as checkpoints:
        wanted = jax.eval_shape(lambda: state("backbone"))
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        wanted = jax.tree.map(lambda leaf: leaf.update(sharding=sharding), wanted)
        restored = checkpoints.restore(7, wanted)
        parts = checkpoints.restore_parts(7, {"backbone": wanted.parameters["backbone"]})
        whole = checkpoints.restore_all_parameters(7)
    jax.tree.map(np.testing.assert_array_equal, restored, state("backbone"))
    np.testing.assert_array_equal(parts["backbone"]["table"], np.arange(3.0))
    assert whole.keys() == {"backbone", "head"}
