"""A picture of a run's log."""

from pathlib import Path

from dnabert_jax.telemetry.run_log import read_log


def draw_loss_curve(run: Path, picture: Path) -> Path:
    """Draws training and held-out loss and accuracy over steps as PNG and returns its path."""
    from matplotlib.figure import Figure

    lines = read_log(run)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2),
        ("loss", "accuracy"),
        ("loss, nats a masked k-mer", "accuracy, a masked k-mer"),
        strict=True,
    ):
        for kind, style in (("training", "-"), ("evaluation", "o-")):
            points = [(line["step"], line[name]) for line in lines if line["kind"] == kind]
            if points:
                axes.plot(
                    *zip(*points, strict=True), style, label={"training": "training", "evaluation": "held out"}[kind]
                )
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"Pre-training in {run.name}")
    figure.savefig(picture, dpi=150)
    return picture
