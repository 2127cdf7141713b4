"""A picture of a run's log."""

from pathlib import Path

from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.telemetry.run_log import read_log


def draw_loss_curve(run: Path, picture: Path) -> None:
    """Draws training and held-out loss and accuracy over steps as PNG."""
    lines = read_log(run)
    panels = {"loss": "loss (nats per masked k-mer)", "accuracy": "accuracy per masked k-mer"}
    kinds = {"training": ("training", "-"), "evaluation": ("held out", "o-")}
    with accompanying(picture), drawing(picture, 9.0, 3.6) as figure:
        for axes, (name, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for kind, (legend, style) in kinds.items():
                points = [(line["step"], line[name]) for line in lines if line["kind"] == kind]
                if points:
                    axes.plot(*zip(*points, strict=True), style, label=legend)
            axes.set_xlabel("step")
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
            axes.legend()
        figure.suptitle(f"Pre-training in {run.name}")
