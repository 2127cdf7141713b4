"""Runs many fine-tunings in lockstep: a jitted step with a leading axis of jobs on all that differs between them.

A job is one data set and one seed. The mesh has the axes `job` and `fsdp`: jobs are spread over the one and never hear
of each other, the rows of a batch over the other. So are the matrices of a large encoder: each device keeps a part of
them, and gathers a layer when it runs (without `remat`, what was gathered stays until the backward pass). On an
accelerator the jobs of a device are computed together, as a small model of 101 bases does not fill a chip; on a CPU
one after the other, where products of many small matrices are slow.
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
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.model.backbone import Execution
from dnabert_jax.model.binding import abstract_parameters, bind
from dnabert_jax.model.dropout import RowKeys, row_keys
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.parallel.mesh import FSDP, TENSOR, parameter_shardings
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.trainable import rate_factors, shardings_of, whole_model
from dnabert_jax.training.execution import Gathering, summed_over_rows
from dnabert_jax.training.masking import mask_kmers
from dnabert_jax.training.optimizer import decay_mask
from dnabert_jax.training.state import Parameters, stream_key

JOB = "job"
_KEPT = 16
"""Jitted functions of each kind that are kept: the groups of a suite share them, and so compile once."""
_WHOLE_UP_TO = 2**28
"""Parameters of an encoder that each device has whole: 1 GiB in float32; gathers would take longer than they save."""
JOBS, ROWS = PartitionSpec(JOB), PartitionSpec(JOB, FSDP)
"""Of arrays with a leading axis of jobs, and of those that then have one of rows."""


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
    """Returns a mesh with as many devices along `job` as have a job each, along `fsdp` as many as divide a batch."""
    count = len(devices)
    along_jobs = max(size for size in range(1, count + 1) if count % size == 0 and size <= jobs)
    rest = count // along_jobs
    along_rows = max(size for size in range(1, rest + 1) if batch_size % size == 0)
    used = np.asarray(devices[: along_jobs * along_rows]).reshape(along_jobs, along_rows, 1)
    return Mesh(used, (JOB, FSDP, TENSOR))


@dataclasses.dataclass(frozen=True)
class Lockstep:
    """The jitted functions of jobs that share a model (with the dropout of fine-tuning), task, config and mesh.

    Attributes:
        whole_up_to: number of parameters up to which every device holds the whole encoder.
    """

    model: ModelConfig
    task: TaskConfig
    config: FinetuneConfig
    mesh: Mesh
    whole_up_to: int = _WHOLE_UP_TO

    def place(self, tree: Any, spec: PartitionSpec = JOBS) -> Any:
        """Puts arrays with a leading axis of jobs on the mesh."""
        return jax.device_put(tree, NamedSharding(self.mesh, spec))

    def place_parameters(self, parameters: Parameters, *leading: str) -> Parameters:
        """Puts parameters on the mesh: what all jobs share, or those of each job if `leading` is their axis."""
        return jax.device_put(parameters, self.shardings(parameters, *leading))

    def shardings(self, parameters: Parameters, *leading: str) -> Parameters:
        """Returns how parameters lie on the mesh, which are some of the network's, after the axes `leading`."""
        return shardings_of(parameters, self._gathering.shardings, self.mesh, *leading)

    @functools.cached_property
    def _gathering(self) -> Gathering:
        """Puts together the encoder; of the rest, which is small and differs by task, each device has the whole."""
        abstract = abstract_parameters(sequence_classifier, self.model, self.task)
        shardings = parameter_shardings(abstract, self.mesh)
        size = sum(leaf.size for leaf in jax.tree.leaves(nnx.to_pure_dict(abstract)["backbone"]))
        # A gather from one device would still be a collective.
        in_parts = ["backbone"] if size > self.whole_up_to and self.mesh.shape[FSDP] > 1 else []
        whole = {part: jax.tree.map(self._whole, tree) for part, tree in shardings.items() if part not in in_parts}
        return Gathering(self.model, shardings | whole)

    def _whole(self, sharding: NamedSharding) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*[None] * len(sharding.spec)))

    def start(self, trainable: Parameters) -> JobsState:
        """Puts `fresh_state` on the mesh, from parameters on the host."""
        placed = self.place_parameters(trainable, JOB)
        state = jax.eval_shape(self.fresh_state, placed)
        return jax.jit(self.fresh_state, out_shardings=self.state_shardings(state))(placed)

    def state_shardings(self, state: JobsState) -> Any:
        """Returns how a state lies on the mesh: the moments as what learns."""
        each, jobs = self.shardings(state.trainable, JOB), NamedSharding(self.mesh, JOBS)
        moments = optax.tree.map_params(
            self._optimizer(), lambda _, sharding: sharding, state.optimizer, each, transform_non_params=lambda _: jobs
        )
        return JobsState(jobs, each, moments, each)  # type: ignore[arg-type]  # shardings stand for arrays

    def abstract_batch(self, jobs: int, length: int) -> tuple[Batch, Turn]:
        """Returns shapes and shardings of what each job is given in a step, of `length` tokens per row."""
        rows = (jobs, self.config.batch_size)
        batch = ((*rows, length), jnp.int32), ((*rows, len(self.task.labels)), jnp.float32), (rows, jnp.float32)
        turn = ((jobs,), jnp.float32), ((jobs,), jnp.int32), ((jobs,), jnp.int32)
        shapes: Any = [[jax.ShapeDtypeStruct(*leaf) for leaf in leaves] for leaves in (batch, turn)]
        return self.abstract(Batch(*shapes[0]), ROWS), self.abstract(Turn(*shapes[1]), JOBS)

    def abstract(self, shapes: Any, spec: PartitionSpec) -> Any:
        """Returns shapes with their sharding on the mesh."""
        return with_shardings(shapes, jax.tree.map(lambda _: NamedSharding(self.mesh, spec), shapes))

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
                    ids = mask_kmers(batch.input_ids, self.config.mask_rate or 0.0, keys)
                    logits = self._logits(frozen, trainable, ids, keys)
                    return (batch.weights * self.task.kind.losses(logits, batch.targets)).sum()

                def nothing(trainable: Parameters) -> Any:
                    return jnp.zeros(()), jax.tree.map(jnp.zeros_like, trainable)

                # One after the other, a job that waits costs nothing; side by side, both branches are computed.
                own = jax.lax.cond(active > 0, jax.value_and_grad(loss), nothing, trainable)
                if self.mesh.shape[FSDP] == 1:
                    return own
                return jax.lax.psum(own[0], FSDP), summed_over_rows(own[1], self.shardings(trainable))

            return self._of_jobs(of_job, trainable, batch, keys, active)

        def step(frozen: Parameters, state: JobsState, batch: Batch, turn: Turn) -> tuple[JobsState, Array]:
            rows = batch.weights.shape[1]
            keys = jax.vmap(lambda seed, step: row_keys(stream_key(seed, "dropout", step), rows))(turn.seed, state.step)
            learning = self._specs(state.trainable, JOB)
            losses, gradients = jax.shard_map(
                own_gradients,
                mesh=self.mesh,
                in_specs=(self._specs(frozen), learning, ROWS, ROWS, JOBS),
                out_specs=(JOBS, learning),
                check_vma=False,
            )(frozen, state.trainable, batch, keys, turn.active)
            trainable, optimizer = jax.vmap(self._update)(gradients, state.optimizer, state.trainable, turn.rate)
            moved = JobsState(state.step + 1, trainable, optimizer, state.best)
            moved = _where(turn.active, moved, state)
            return jax.lax.with_sharding_constraint(moved, self.state_shardings(moved)), losses

        return jax.jit(step, donate_argnums=1)

    @functools.lru_cache(maxsize=_KEPT)  # noqa: B019
    def predict(self) -> Callable[[Parameters, Parameters, Int[Array, "J B *row"]], Float[Array, "J B C"]]:
        """(frozen, trainable, input_ids) to the logits, or predicted values."""

        def device_logits(frozen: Parameters, trainable: Parameters, input_ids: Array) -> Any:
            return self._of_jobs(lambda tree, ids: self._logits(frozen, tree, ids), trainable, input_ids)

        def logits(frozen: Parameters, trainable: Parameters, input_ids: Array) -> Array:
            specs = self._specs(frozen), self._specs(trainable, JOB), ROWS
            on_devices = jax.shard_map(device_logits, mesh=self.mesh, in_specs=specs, out_specs=ROWS, check_vma=False)
            return on_devices(frozen, trainable, input_ids)

        return jax.jit(logits)

    def _logits(
        self, frozen: Parameters, trainable: Parameters, input_ids: Array, keys: RowKeys | None = None
    ) -> Float[Array, "B C"]:
        """Returns the logits of a device's rows, from the parts of parameters that it keeps."""
        parameters = self._gathering(whole_model(frozen, trainable, self.config))
        network = bind(sequence_classifier, parameters, self.model, self.task)
        return network(input_ids, keys, Execution(remat=self.config.remat, place=self._gathering.layer))

    def _specs(self, parameters: Parameters, *leading: str) -> Parameters:
        return jax.tree.map(lambda sharding: sharding.spec, self.shardings(parameters, *leading))

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


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Returns the shapes with shardings attached, to compile for."""

    def attached(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(attached, shapes, shardings)


def _where(chosen: Int[Array, " J"], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, b), new, old)
