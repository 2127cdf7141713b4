"""The paper's models and recipes by name, and a small one."""

from dnabert_jax.config import ExecutionConfig, MaskingConfig, ModelConfig, OptimizerConfig, PretrainConfig


def _dnabert(k: int) -> PretrainConfig:
    """The paper's model and recipe (Ji et al. 2021).

    The paper's batch is 2,000 sequences. Packed rows of 512 tokens hold 1.58 sequences each on average
    (`sequences / rows` in the manifest of the first 70 Mb of chromosome X), so 1,280 rows hold 2,020: the smallest
    batch with at least the paper's 2,000 that divides over 256 chips.
    """
    model = ModelConfig(k=k, compute_dtype="bfloat16")
    return PretrainConfig(model=model, execution=ExecutionConfig(scan_unroll=model.num_layers))


PRESETS: dict[str, PretrainConfig] = {
    "tiny": PretrainConfig(
        model=ModelConfig(
            k=3,
            hidden_size=64,
            num_layers=2,
            num_heads=2,
            intermediate_size=256,
            dropout=0.0,
            attention_dropout=0.0,
            initializer_range=0.04,
            initializer="mimetic",
        ),
        masking=MaskingConfig(late_from_step=1300),
        optimizer=OptimizerConfig(peak_learning_rate=4e-3, warmup_steps=100, schedule_steps=1800),
        global_batch=8,
        steps=1600,
        log_every=20,
        evaluate_every=200,
        evaluation_rows=256,
        checkpoint_every=400,
    ),
    "dnabert3": _dnabert(3),
    "dnabert4": _dnabert(4),
    "dnabert5": _dnabert(5),
    "dnabert6": _dnabert(6),
}
