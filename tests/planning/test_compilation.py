"""The step that is planned is the one that is trained, and what its compiler says is passed on."""

import dataclasses
import importlib.resources

import jax
import pytest

from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.parallel.chips import chip_named
from dnabert_jax.parallel.mesh import make_mesh
from dnabert_jax.planning.compilation import OutOfMemoryError, compile_step, read_memory


@pytest.fixture
def config(small_model: ModelConfig) -> PretrainConfig:
    return PretrainConfig(model=small_model, global_batch=16)


def test_arguments_are_the_state_and_the_rows(config: PretrainConfig) -> None:
    """On one device: each parameter thrice in float32, the rows in two bytes a token, a few counters."""
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    memory = read_memory(compile_step(config, mesh, 64))
    model = config.model
    hidden, width, layers = model.hidden_size, model.intermediate_size, model.num_layers
    a_layer = 4 * (hidden**2 + hidden) + 2 * hidden * width + hidden + width + 4 * hidden
    embeddings = (model.padded_vocabulary_size + model.max_positions + 2 + 2) * hidden
    head = hidden**2 + 3 * hidden + model.padded_vocabulary_size
    state = 3 * 4 * (layers * a_layer + embeddings + head)
    assert memory.arguments == pytest.approx(state + 2 * 16 * 64, abs=64)
    # The old state is given up for the new one.
    assert memory.aliased == pytest.approx(state, abs=64)
    assert memory.needed == memory.arguments + memory.temporaries + memory.code + memory.output - memory.aliased


@pytest.mark.parametrize(
    ("message", "error", "said"),
    [
        ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.53G of "
         "15.75G hbm. Exceeded hbm capacity by 4.78G.\n\nTotal hbm usage >= 20.9G:", OutOfMemoryError, "20.53G"),
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM (26.28G).\nLargest:", OutOfMemoryError, "26.28G"),
        ("INTERNAL: a check failed.\nmore", JobError, "a check failed"),
    ],
    ids=["in all", "temporaries", "its own failure"],
)  # fmt: skip
def test_a_refusal_is_passed_on_in_short(
    config: PretrainConfig, monkeypatch: pytest.MonkeyPatch, message: str, error: type[Exception], said: str
) -> None:
    def refuse(lowered: jax.stages.Lowered) -> None:
        raise jax.errors.JaxRuntimeError(message)

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    with pytest.raises(error, match=said) as refused:
        compile_step(config, make_mesh(config.mesh, jax.devices()), 64)
    assert "\n" not in str(refused.value)


def test_rows_that_are_too_long_are_refused(config: PretrainConfig) -> None:
    longer = dataclasses.replace(config, model=dataclasses.replace(config.model, max_positions=32))
    with pytest.raises(InputError, match=r"64 .* 32"):
        compile_step(longer, make_mesh(config.mesh, jax.devices()), 64)


def test_the_description_of_a_gpu_is_that_of_the_chip_it_is_named_for() -> None:
    chip = chip_named("h100")
    assert chip is not None
    description = (importlib.resources.files("dnabert_jax.planning") / f"{chip.name}.txtpb").read_text()
    assert f'device_description_str: "{chip.kinds[0]}"' in description
