"""The loss curve is a picture with something on it."""

import json
from pathlib import Path

from matplotlib.image import imread

from dnabert_jax.telemetry.run_log import draw_loss_curve


def test_a_log_is_drawn(tmp_path: Path) -> None:
    lines = [{"step": s, "kind": "training", "loss": 4 - s / 10, "accuracy": s / 20} for s in range(1, 10)]
    lines.append({"step": 9, "kind": "evaluation", "loss": 3.2, "accuracy": 0.4})
    run = tmp_path / "$$"
    run.mkdir()
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_loss_curve(run, tmp_path / "loss.png")
    picture = imread(tmp_path / "loss.png")
    assert picture.shape[0] > 400
    assert picture.shape[1] > 1000
    assert len({tuple(pixel) for row in picture[::7, ::7, :3] for pixel in row.tolist()}) > 10
