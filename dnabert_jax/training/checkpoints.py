"""Checkpoints of a run through orbax: asynchronous, atomic, restored onto whatever mesh is there.

A checkpoint is a directory named for its step with two items, `parameters` and `training` (step and optimizer
state), so that a reader who wants the weights need not read the optimizer's; its metadata holds the run's
configuration, the digest of its data and the last held-out evaluation. One of fine-tuning holds what
`tasks.finetuning.checkpoint` gives it.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
from orbax.checkpoint import v1 as ocp

from dnabert_jax.errors import InputError, JobError, first_line, is_out_of_room
from dnabert_jax.training.evaluation import Evaluation
from dnabert_jax.training.preemption import OtherProcessEndedError
from dnabert_jax.training.run_directory import CHECKPOINTS_DIRECTORY
from dnabert_jax.training.state import Parameters, TrainState
from dnabert_jax.typed_json import parse_json

_PARAMETERS, _TRAINING = "parameters", "training"
_ROOT, _FORMER_ROOT = "backbone", "bert"
"""The part of a network below its heads, and what checkpoints called it when DNABERT was the only family."""

_Record = TypeVar("_Record")


@dataclasses.dataclass(frozen=True)
class LastEvaluation:
    """A held-out evaluation, and the number of updates made before it."""

    step: int
    figures: Evaluation


@dataclasses.dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint of a run says besides its arrays: the configuration, the digest of its data, an evaluation."""

    config: dict[str, Any]
    data: str
    evaluation: LastEvaluation | None


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints under a directory; a context manager that waits for what is being written.

    Args:
        keep: for the run that writes them: how many of the latest. Without it they are read only, and what another
            process is writing there is left alone.
    """

    def __init__(self, directory: Path, keep: int | None = None):
        self._directory = directory.absolute() / CHECKPOINTS_DIRECTORY
        self._remedy = "go on with --resume from the last complete one"
        if keep is None and not self._directory.is_dir():
            raise InputError(f"{directory} holds no complete checkpoint yet.")
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            self._directory,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.PreserveAll() if keep is None else policies.LatestN(keep),
            cleanup_tmp_directories=keep is not None,
        )

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OtherProcessEndedError):
            return  # which would have to take part in what is being written
        with self._writing():
            self._checkpointer.close()

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints)

    def save(self, state: TrainState, step: int, metadata: CheckpointMetadata) -> None:
        """Starts to write a checkpoint; raises JobError if the one before could not be written."""
        items = {_PARAMETERS: state.parameters, _TRAINING: {"step": state.step, "optimizer": state.optimizer}}
        self.save_items(items, step, dataclasses.asdict(metadata))

    def save_parameters(self, parameters: Parameters, step: int) -> None:
        """Starts to write a checkpoint of a model that is not trained here."""
        self._remedy = "begin again"
        self.save_items({_PARAMETERS: parameters}, step)

    def save_items(self, items: dict[str, Any], step: int, metadata: dict[str, Any] | None = None) -> None:
        """Starts to write a checkpoint of trees of arrays by name, and what JSON can hold beside them."""
        with self._writing():
            self._checkpointer.save_checkpointables_async(step, items, force=True, custom_metadata=metadata)

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state at a step, laid out as `abstract` says."""
        wanted = {_PARAMETERS: abstract.parameters, _TRAINING: {"step": abstract.step, "optimizer": abstract.optimizer}}
        items = self.restore_items(step, wanted)
        return TrainState(items[_TRAINING]["step"], items[_PARAMETERS], items[_TRAINING]["optimizer"])

    def restore_parameters(self, step: int, abstract: Parameters) -> Parameters:
        """The parameters alone, laid out as `abstract` says."""
        return self.restore_items(step, {_PARAMETERS: abstract})[_PARAMETERS]

    def restore_parts(self, step: int, abstract: Parameters) -> Parameters:
        """Works as `restore_parameters`, for a checkpoint that may have more parts; InputError if one is missing."""
        missing = sorted(abstract.keys() - self.shapes(step, _PARAMETERS).keys())
        if missing:
            raise InputError(f"The checkpoint {self._directory / str(step)} has no {' and no '.join(missing)}.")
        return self.restore_items(step, {_PARAMETERS: abstract}, partial=True)[_PARAMETERS]

    def restore_all_parameters(self, step: int) -> Parameters:
        """All parameters of the checkpoint, whatever parts of a model they are, whole on the first local device."""
        return self.restore_parameters(step, abstract_on_one_device(self.shapes(step, _PARAMETERS)))

    def evaluation(self, step: int) -> LastEvaluation | None:
        """Returns the last held-out evaluation that was given to `save`."""
        return self.metadata(step, CheckpointMetadata).evaluation

    def metadata(self, step: int, cls: type[_Record]) -> _Record:
        """Returns what was given as metadata to `save` or `save_items`; raises InputError if it is damaged."""
        metadata = self._checkpointer.checkpointables_metadata(step).custom_metadata
        try:
            return parse_json(cls, json.dumps(metadata).encode(), "its metadata")
        except InputError as error:
            raise self._damaged(step) from error

    def shapes(self, step: int, item: str) -> dict[str, Any]:
        """Returns the shapes and types of a tree; raises InputError if the checkpoint is damaged."""
        return _renamed(self._saved_shapes(step, item), _FORMER_ROOT, _ROOT)

    def _saved_shapes(self, step: int, item: str) -> dict[str, Any]:
        try:
            saved = self._checkpointer.checkpointables_metadata(step).metadata[item]
        # What orbax raises for files that are missing or no longer what they were; for some it gives no parameters.
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise self._damaged(step) from error
        if not saved:
            raise self._damaged(step)
        return saved

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        # What orbax and tensorstore raise when a file cannot be written, in this call or in the background before it.
        except (ValueError, OSError, RuntimeError) as error:
            first = "make room, then " if is_out_of_room(error) else ""
            raise JobError(
                f"A checkpoint could not be written to {self._directory} ({first_line(error)}): {first}{self._remedy}."
            ) from error

    def restore_items(self, step: int, wanted: dict[str, Any], partial: bool = False) -> dict[str, Any]:
        """Returns trees by name, laid out as `wanted` says; raises InputError if the checkpoint is damaged.

        Args:
            partial: whether the checkpoint may have more than is wanted.
        """
        if any(_names(self._saved_shapes(step, item), _FORMER_ROOT) for item in wanted):
            wanted = _renamed(wanted, _ROOT, _FORMER_ROOT)
        context = ocp.Context()
        context.pytree.loading.partial_load = partial
        try:
            with context:
                return _renamed(self._checkpointer.load_checkpointables(step, wanted), _FORMER_ROOT, _ROOT)
        # What orbax and tensorstore raise for files that are missing, cut short or no longer what they were; which of
        # them it was, orbax does not say.
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise self._damaged(step) from error

    def _damaged(self, step: int) -> InputError:
        earlier = [other for other in self.steps if other < step]
        remedy = (
            f"export step {earlier[-1]} with --step {earlier[-1]}, or move it away, and --resume goes on from there"
            if earlier
            else "there is no earlier one, so move it away, and --resume begins anew"
        )
        return InputError(
            f"The checkpoint {self._directory / str(step)} cannot be read, as files of it are missing or damaged: "
            f"restore it; or {remedy}."
        )


def _names(tree: Any, name: str) -> bool:
    """Returns whether a dictionary in a tree, such as the moments of an optimizer, has a name."""
    names = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, dict) and name in node)
    return any(isinstance(node, dict) for node in names)


def _renamed(tree: Any, name: str, new: str) -> Any:
    """Returns a tree whose dictionaries have another name where they had `name`."""

    def renamed(node: Any) -> Any:
        return {new if key == name else key: part for key, part in node.items()} if isinstance(node, dict) else node

    return jax.tree.map(renamed, tree, is_leaf=lambda node: isinstance(node, dict) and name in node)


def write_parameters(directory: Path, parameters: Parameters, step: int) -> None:
    """Writes the one checkpoint of a model that is not trained here; nobody may change its arrays meanwhile."""
    # An array at a time, and as arrays of JAX: else orbax has a copy of all numpy arrays, and TensorStore another.
    context = ocp.Context()
    context.memory.write_concurrent_bytes = 1 + max(leaf.nbytes for leaf in jax.tree.leaves(parameters))
    with context, Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save_parameters(jax.device_put(parameters), step)


def choose_step(checkpoints: Checkpoints, directory: Path, step: int | None) -> int:
    """Returns the step asked for, or the latest; raises InputError if there is no such checkpoint."""
    steps = checkpoints.steps
    if not steps:
        raise InputError(f"{directory} holds no complete checkpoint yet.")
    if step is not None and step not in steps:
        raise InputError(f"{directory} has no checkpoint of step {step}: it has {', '.join(map(str, steps))}.")
    return steps[-1] if step is None else step


def abstract_on_one_device(parameters: Parameters) -> Parameters:
    """Shapes that restore whole on the first local device, whatever mesh they were saved from."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), parameters)
