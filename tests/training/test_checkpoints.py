"""Why a checkpoint could not be written is said as it is: that there is no room only if that is so."""

import errno
import os
from pathlib import Path

import jax.numpy as jnp
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
