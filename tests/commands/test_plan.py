"""`dnabert-jax plan`: real compiles for slices that are not there, and a sentence for all that cannot be planned."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Fails, Patch

ROOT = Path(__file__).parents[2]
SMALL = [
    "--preset", "tiny", "--global-batch", "16", "--model.compute-dtype", "bfloat16", "--model.num-layers", "2",
    "--model.hidden-size", "128", "--model.num-heads", "1", "--model.max-positions", "128",
]  # fmt: skip


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not importlib.util.find_spec(module), reason=f"{module} is not installed")


def compiled_for_tpus(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test that compiles for TPUs."""
    return pytest.mark.slow(pytest.mark.tpu_compiler(needs("libtpu")(test)))  # type: ignore[no-any-return]


def plan(*arguments: str | Path, model: Sequence[str] = SMALL) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as JAX reads the environment once."""
    return subprocess.run(
        [sys.executable, "-c", "from dnabert_jax.commands.cli import main; main()", "plan", *model,
         *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": ""}, cwd=ROOT, check=False,
    )  # fmt: skip


def planned(tmp_path: Path, *arguments: str | Path, model: Sequence[str] = SMALL) -> dict[str, Any]:
    """The figures of a plan that must succeed."""
    done = plan(*arguments, "--json", tmp_path / "plan.json", model=model)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return json.loads((tmp_path / "plan.json").read_text())  # type: ignore[no-any-return]


def exchanged(found: dict[str, Any], group: int) -> Counter[str]:
    """The bytes of each kind of collective over groups of that size."""
    sizes: Counter[str] = Counter()
    for part in found["collectives"]:
        sizes[part["kind"]] += part["size"] * (part["group"] == group)
    return sizes


@compiled_for_tpus
def test_a_real_step_and_the_saved_hlo_summed_again(sample_rows: Path, tmp_path: Path) -> None:
    hlo, figures = tmp_path / "step.hlo", tmp_path / "plan.json"
    flags = ("--topology", "v5e:2x2", "--execution.scan-unroll", "2", "--data", sample_rows)
    done = plan(*flags, "--hlo", hlo, "--json", figures)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())

    text = hlo.read_text()
    assert " while(" not in text, "all layers are unrolled, so that every line of the entry runs once"
    entry = text[text.index("\nENTRY ") :]
    assert found["time"]["cycles"] == sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', entry))) > 0
    # What is gathered are the parameters that lie in parts, and what is scattered are their gradients.
    sizes = exchanged(found, group=4)
    assert sizes["all-gather"] == pytest.approx(sizes["reduce-scatter"], rel=0.01)
    assert sizes["reduce-scatter"] > 2 * (4 * 128**2 + 2 * 128 * 256) * 2
    assert {part["group"] for part in found["collectives"]} == {4}
    assert not found["kernels"], "rows of 64 tokens are too short for the attention kernel"
    assert found["fits"]
    memory = found["memory"]
    assert 0 < memory["arguments"] < memory["needed"] < found["chip"]["hbm_bytes"]
    low, high = found["time"]["overlapped"], found["time"]["sequential"]
    assert low["step_seconds"] <= high["step_seconds"]
    assert low["tokens_per_second"] == pytest.approx(16 * 64 / low["step_seconds"])
    assert 0.9 < low["useful_tokens_per_second"] / low["tokens_per_second"] < 1
    assert (found["row_length"], found["chips"], found["config"]["global_batch"]) == (64, 4, 16)
    for figure in (str(hlo), f"{found['time']['cycles']:,} cycles", "16.00 GiB"):
        assert figure in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "step.hlo"]


WIDER = [*SMALL, "--model.hidden-size", "256", "--model.num-heads", "2", "--model.intermediate-size", "1024"]


@compiled_for_tpus
@pytest.mark.parametrize(
    "topology",
    ["v6e:2x4", *(pytest.param(name, marks=pytest.mark.by_hand) for name in ("v4:2x2x2", "v5p:2x2x2"))],
)
def test_a_model_on_all_three_axes_of_other_generations(tmp_path: Path, topology: str) -> None:
    """Every matrix's gradient is scattered over fsdp and its part summed over data, in what tensor leaves of it."""
    flags = ["--topology", topology, "--mesh.fsdp", "2", "--mesh.tensor", "2", "--global-batch", "8"]
    hlo, layers, hidden = tmp_path / "step.hlo", 2, 256
    found = planned(tmp_path, *flags, "--execution.scan-unroll", "1", "--hlo", hlo, model=WIDER)
    assert (found["chips"], found["mesh"]) == (8, {"data": 2, "fsdp": 2, "tensor": 2})
    assert found["fits"]
    assert found["time"]["cycles"] > 0
    assert " while(" in hlo.read_text(), "the layers are looped over"
    kernels = {kernel["name"]: kernel["count"] for kernel in found["kernels"]}
    assert kernels == {"attention_forward": layers, "attention_backward": layers}
    of_layers = layers * (4 * hidden**2 + 2 * hidden * 4 * hidden) // 2
    sizes = exchanged(found, group=2)
    assert sizes["reduce-scatter"] >= 2 * of_layers, "in bfloat16"
    assert sizes["all-gather"] >= 2 * of_layers
    assert sizes["all-reduce"] >= 4 * of_layers // 2, "of parts, in float32"


@compiled_for_tpus
def test_slices_exchange_gradients_over_the_network_between_them(tmp_path: Path) -> None:
    found = planned(tmp_path, "--topology", "v5e:2x2", "--slices", "2")
    assert (found["chips"], found["mesh"]) == (8, {"data": 2, "fsdp": 4, "tensor": 1})
    across = {part["kind"]: part for part in found["collectives"] if part["kind"].isupper()}
    assert across["ALL_REDUCE"]["group"] == 2
    assert across["ALL_REDUCE"]["seconds"] > 0
    assert {part["group"] for part in found["collectives"] if not part["kind"].isupper()} == {4}


@compiled_for_tpus
def test_what_does_not_fit_fails_and_says_by_how_much(tmp_path: Path) -> None:
    hlo, figures = tmp_path / "step.hlo", tmp_path / "plan.json"
    done = plan("--topology", "v5e:2x2", "--global-batch", str(2**18), "--hlo", hlo, "--json", figures)
    assert done.returncode == 1
    assert re.search(r"error: .*\d+\.\d+G.*15\.75G", done.stderr)
    assert "Traceback" not in done.stderr
    found = json.loads(figures.read_text())
    assert (found["fits"], found["memory"], found["time"]) == (False, None, None)
    assert "15.75G" in found["refusal"]
    assert not hlo.exists()


@needs("jax_cuda13_plugin")
@pytest.mark.slow
def test_gpus_are_planned_for_without_a_gpu(tmp_path: Path) -> None:
    found = planned(tmp_path, "--topology", "h100:2", "--model.attention-dropout", "0", "--model.num-heads", "2")
    assert (found["chips"], found["fits"], found["time"]) == (2, True, None)
    assert any(kernel["name"].startswith("__cudnn$fmha") for kernel in found["kernels"])
    assert {"all-gather", "reduce-scatter"} <= {part["kind"] for part in found["collectives"]}


@compiled_for_tpus
def test_a_suite_of_finetunings(tmp_path: Path) -> None:
    flags = "--suite --topology v5e:1x1 --model-preset tiny --batch-size 2 --bases 20 --sets 7 --jobs-per-chip 2"
    found = planned(tmp_path, *flags.split(), model=())
    (jobs,) = found["plans"]
    assert (found["chips"], jobs["groups"], jobs["refusal"]) == (1, 4, "")
    assert jobs["step"]["seconds"] > 0 < jobs["prediction"]["seconds"]
    assert 0 < jobs["prediction"]["memory"] < jobs["step"]["memory"] < found["chip"]["hbm_bytes"]


@pytest.fixture
def refused(fails: Fails) -> Callable[..., str]:
    """Returns the sentence of a plan that cannot be made."""
    return lambda *arguments, model=SMALL: fails("plan", *model, *arguments)


def test_bad_names(tmp_path: Path, refused: Fails) -> None:
    for name in ("v9:2x2", "a100:8", "", "v5e", "v5e:", "v5e:4x", "h100:0"):
        assert f"'{name}'" in refused("--topology", name)
    assert "h100:8" in refused("--topology", "h100:2x4")
    assert "0 slices" in refused("--topology", "v5e:2x2", "--slices", "0")
    assert "jobs_per_chip is [0]" in refused("--suite", "--topology", "v5e:2x2", "--jobs-per-chip", "0", model=())
    nowhere = tmp_path / "nowhere" / "plan.json"
    assert str(nowhere) in refused("--topology", "v5e:2x2", "--json", nowhere)
    assert str(tmp_path) in refused("--topology", "v5e:2x2", "--data", tmp_path)


@pytest.mark.tpu_compiler
@needs("libtpu")
def test_what_cannot_run_is_refused_at_once(refused: Fails, sample_rows: Path) -> None:
    for flags, named in (
        *((f"--topology {name}", name) for name in ("v5e:3x5", "v5e:2x2x2", "v4:3x3x3")),
        ("--topology v6e:32x16", "16x16"),
        ("--topology v5e:2x2 --global-batch 6", "multiple of 4"),
        ("--topology v5e:2x2 --mesh.fsdp 3", "4 devices"),
        ("--topology v5e:2x2 --slices 2 --mesh.tensor 8", "2 slices"),
        ("--topology v5e:2x2 --data ROWS --model.max-positions 32", "--model.max-positions 64"),
        ("--topology v5e:2x2 --data ROWS --model.k 4", "k = 4"),
    ):
        assert named in refused(*flags.replace("ROWS", str(sample_rows)).split())


def test_without_a_compiler_the_remedy_is_named(refused: Fails, monkeypatch: Patch) -> None:
    for plugin in ("libtpu", "jax_cuda13_plugin"):
        monkeypatch.setitem(sys.modules, plugin, None)
    assert "(the extra tpu)" in refused("--topology", "v5e:2x2")
    assert "(the extra cuda)" in refused("--topology", "h100:8")
