"""Runs many fine-tunings in lockstep: a jitted step with a leading axis of jobs on all that differs between them.

A job is one data set and one seed. The mesh has the axes `job` and `data`: jobs are spread over the one and never hear
of each other, the rows of a batch over the other. On an accelerator the jobs of a device are computed together, as a
small model of 101 bases does not fill a chip; on a CPU one after the other, where products of many small matrices are
slow.
J jobs, B sequences, T windows, L tokens, C labels.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.backbone import Execution
from dnabert_jax.model.binding import bind
from dnabert_jax.model.dropout import RowKeys, row_keys
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.parallel.mesh import DATA
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.trainable import rate_factors, whole_model
from dnabert_jax.training.masking import mask_kmers
from dnabert_jax.training.optimizer import decay_mask
from dnabert_jax.training.state import Parameters, stream_key

JOB = "job"
_KEPT = 16
"""Jitted functions of each kind that are kept: the groups of a suite share them, and so compile once."""
JOBS, ROWS, SHARED = PartitionSpec(JOB), PartitionSpec(JOB, DATA), PartitionSpec()
"""Of arrays with a leading axis of jobs, of those that then have one of rows, and of what all jobs share."""


class Batch(NamedTuple):
    """One batch of every job.

    Attributes:
        input_ids: one sequence a row, whole or in windows, "J B T L".
        targets: probability of each label, or true values.
        weights: of each row's loss; those of a job sum to 1, padding has 0.
    """

    input_ids: Int[Array, "J B *row"]
    targets: Float[Array, "J B C"]
    weights: Float[Array, "J B"]


class Turn(NamedTuple):
    """What each job does with its batch.

    Attributes:
        rate: learning rate.
        seed: of dropout.
        active: 0 for a job that waits or has ended, whose state stays as it is.
    """

    rate: Float[Array, " J"]
    seed: Int[Array, " J"]
    active: Int[Array, " J"]


class JobsState(NamedTuple):
    """The state of all jobs, with a leading axis; `best` has the parameters of the best epoch so far."""

    step: Int[Array, " J"]
    trainable: Parameters
    optimizer: optax.OptState
    best: Parameters


def jobs_mesh(devices: Sequence[jax.Device], jobs: int, batch_size: int) -> Mesh:
    """Returns a mesh with as many devices along `job` as have a job each, along `data` as many as divide a batch."""
    count = len(devices)
    along_jobs = max(size for size in range(1, count + 1) if count % size == 0 and size <= jobs)
    rest = count // along_jobs
    along_data = max(size for size in range(1, rest + 1) if batch_size % size == 0)
    used = np.asarray(devices[: along_jobs * along_data]).reshape(along_jobs, along_data)
    return Mesh(used, (JOB, DATA))


@dataclasses.dataclass(frozen=True)
class Lockstep:
    """The jitted functions of jobs that share a model (with the dropout of fine-tuning), task, config and mesh."""

    model: ModelConfig
    task: TaskConfig
    config: FinetuneConfig
    mesh: Mesh

    def place(self, tree: Any, spec: PartitionSpec = JOBS) -> Any:
        """Puts host arrays on the mesh; those with a leading axis of jobs, unless told otherwise."""
        return jax.device_put(tree, NamedSharding(self.mesh, spec))

    def start(self, trainable: Parameters) -> JobsState:
        """Puts `fresh_state` on the mesh, from parameters on the host."""
        return jax.jit(self.fresh_state, out_shardings=NamedSharding(self.mesh, JOBS))(self.place(trainable))

    def abstract_batch(self, jobs: int, length: int) -> tuple[Batch, Turn]:
        """Returns shapes and shardings of what each job is given in a step, of `length` tokens per row."""
        rows = (jobs, self.config.batch_size)
        batch = ((*rows, length), jnp.int32), ((*rows, len(self.task.labels)), jnp.float32), (rows, jnp.float32)
        turn = ((jobs,), jnp.float32), ((jobs,), jnp.int32), ((jobs,), jnp.int32)
        shapes: Any = [[jax.ShapeDtypeStruct(*leaf) for leaf in leaves] for leaves in (batch, turn)]
        return self.abstract(Batch(*shapes[0]), ROWS), self.abstract(Turn(*shapes[1]), JOBS)

    def abstract(self, shapes: Any, spec: PartitionSpec = SHARED) -> Any:
        """Returns shapes with their shardings on the mesh; by default whole on every device."""
        sharding = NamedSharding(self.mesh, spec)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)

    def fresh_state(self, trainable: Parameters) -> JobsState:
        """Returns the state before the first step, from parameters with a leading axis of jobs, on the devices."""
        jobs = jax.tree.leaves(trainable)[0].shape[0]
        return JobsState(jnp.zeros(jobs, jnp.int32), trainable, jax.vmap(self._optimizer().init)(trainable), trainable)

    @functools.lru_cache(maxsize=_KEPT)  # noqa: B019 - what is kept is small, and few are
    def train_step(self) -> Callable[[Parameters, JobsState, Batch, Turn], tuple[JobsState, Float[Array, " J"]]]:
        """(frozen, state, batch, turn) to the next state and the losses; the state is donated."""

        def own_gradients(frozen: Parameters, trainable: Parameters, batch: Batch, keys: RowKeys, active: Array) -> Any:
            def of_job(trainable: Parameters, batch: Batch, keys: RowKeys, active: Array) -> Any:
                def loss(trainable: Parameters) -> Array:
                    network = self._network(frozen, trainable)
                    ids = mask_kmers(batch.input_ids, self.config.mask_rate or 0.0, keys)
                    logits = network(ids, keys, Execution(remat=self.config.remat))
                    return (batch.weights * self.task.kind.losses(logits, batch.targets)).sum()

                def nothing(trainable: Parameters) -> Any:
                    return jnp.zeros(()), jax.tree.map(jnp.zeros_like, trainable)

                # One after the other, a job that waits costs nothing; side by side, both branches are computed.
                own = jax.lax.cond(active > 0, jax.value_and_grad(loss), nothing, trainable)
                # A sum over one device would still be a collective.
                return own if self.mesh.shape[DATA] == 1 else jax.lax.psum(own, DATA)

            return self._of_jobs(of_job, trainable, batch, keys, active)

        gradients_of = jax.shard_map(
            own_gradients, mesh=self.mesh, in_specs=(SHARED, JOBS, ROWS, ROWS, JOBS), out_specs=JOBS, check_vma=False
        )

        def step(frozen: Parameters, state: JobsState, batch: Batch, turn: Turn) -> tuple[JobsState, Array]:
            rows = batch.weights.shape[1]
            keys = jax.vmap(lambda seed, step: row_keys(stream_key(seed, "dropout", step), rows))(turn.seed, state.step)
            losses, gradients = gradients_of(frozen, state.trainable, batch, keys, turn.active)
            trainable, optimizer = jax.vmap(self._update)(gradients, state.optimizer, state.trainable, turn.rate)
            moved = JobsState(state.step + 1, trainable, optimizer, state.best)
            return _where(turn.active, moved, state), losses

        return jax.jit(step, donate_argnums=1, out_shardings=NamedSharding(self.mesh, JOBS))

    @functools.lru_cache(maxsize=_KEPT)  # noqa: B019
    def predict(self) -> Callable[[Parameters, Parameters, Int[Array, "J B *row"]], Float[Array, "J B C"]]:
        """(frozen, trainable, input_ids) to the logits, or predicted values."""

        def own(frozen: Parameters, trainable: Parameters, input_ids: Array) -> Any:
            return self._of_jobs(lambda tree, ids: self._network(frozen, tree)(ids), trainable, input_ids)

        sharded = jax.shard_map(own, mesh=self.mesh, in_specs=(SHARED, JOBS, ROWS), out_specs=ROWS, check_vma=False)
        return jax.jit(sharded)

    def _network(self, frozen: Parameters, trainable: Parameters) -> Any:
        return bind(sequence_classifier, whole_model(frozen, trainable, self.config), self.model, self.task)

    def _of_jobs(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self.mesh.devices.flat[0].platform == "cpu":
            return jax.lax.map(lambda each: function(*each), arguments)
        return jax.vmap(function)(*arguments)

    def _optimizer(self) -> optax.GradientTransformation:
        config = self.config
        return optax.chain(
            optax.clip_by_global_norm(config.clip_norm),
            optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
            optax.add_decayed_weights(config.weight_decay, decay_mask),
        )

    def _update(self, gradients: Parameters, state: optax.OptState, trainable: Parameters, rate: Array) -> Any:
        updates, state = self._optimizer().update(gradients, state, trainable)
        factors = rate_factors(trainable, self.model.num_layers, self.config.layer_decay, self.config.head_rate)
        moved = jax.tree.map(lambda value, update, factor: value - rate * factor * update, trainable, updates, factors)
        return moved, state


@functools.partial(jax.jit, donate_argnums=0)
def keep_best(state: JobsState, improved: Int[Array, " J"]) -> JobsState:
    """Returns the state whose best parameters are the present ones where a job improved."""
    return state._replace(best=_where(improved, state.trainable, state.best))


def _where(chosen: Int[Array, " J"], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, b), new, old)
