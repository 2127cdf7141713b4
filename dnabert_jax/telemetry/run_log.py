"""The log of a run: one JSON object a line, the same figures as TensorBoard events, and a picture of them."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.io.pictures import accompanying, drawing

LOG_FILE = "log.jsonl"
TENSORBOARD_DIRECTORY = "tensorboard"
_EVENT_FILES = "events.out.tfevents.*"
_SECONDS_BETWEEN_FLUSHES = 20


class RunLog(contextlib.AbstractContextManager["RunLog"]):
    """Appends figures to RUN/log.jsonl and RUN/tensorboard; a context manager.

    Args:
        resumed_from: what an interrupted run logged beyond this step is dropped, as it is about to happen again.
    """

    def __init__(self, directory: Path, resumed_from: int):
        kept = [line for line in read_log(directory) if line["step"] <= resumed_from]
        path = directory / LOG_FILE
        storage.write(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = path.open("a", buffering=1, encoding="utf-8")
        # A killed process leaves events unwritten: they are made anew from the lines, of which none is lost.
        # Profiles, in the same directory, cannot be.
        for events in (directory / TENSORBOARD_DIRECTORY).glob(_EVENT_FILES):
            events.unlink()
        # Here and not above: where torch is installed, tensorboardX loads it, which takes a second.
        from tensorboardX import SummaryWriter

        self._events = SummaryWriter(str(directory / TENSORBOARD_DIRECTORY), flush_secs=_SECONDS_BETWEEN_FLUSHES)
        for line in kept:
            self._add_events(line)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, kind: str, figures: Mapping[str, float | int]) -> None:
        """Writes {"step": ..., "kind": "training", "evaluation" or a job of fine-tuning, figure: value, ...}."""
        line = {"step": step, "kind": kind, **figures}
        self._file.write(json.dumps(line) + "\n")
        self._add_events(line)

    def _add_events(self, line: dict[str, Any]) -> None:
        for name in line.keys() - {"step", "kind"}:
            self._events.add_scalar(f"{line['kind']}/{name}", line[name], line["step"])


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Returns the lines of RUN/log.jsonl, except a last one that is unfinished; raises InputError if one is damaged."""
    path = directory / LOG_FILE
    if not path.exists():
        return []
    complete = path.read_text(errors="replace", encoding="utf-8").rpartition("\n")[0]
    try:
        return [json.loads(line) for line in complete.splitlines()]
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged ({error}): restore it, or move it away.") from error


def draw_loss_curve(run: Path, picture: Path) -> None:
    """Draws training and held-out loss and accuracy over steps as PNG."""
    lines = read_log(run)
    panels = {"loss": "loss (nats per masked token)", "accuracy": "accuracy per masked token"}
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
