"""The laws of the house: the direction of imports, what stays light, and names that say something."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A stage may import those before it, never those after it (docs/architecture.md).
STAGES = [
    ("dnabert_jax.errors", "dnabert_jax.numerics", "dnabert_jax.sample", "dnabert_jax.typed_json"),
    ("dnabert_jax.extras",),
    ("dnabert_jax.storage",),
    ("dnabert_jax.outputs",),
    ("dnabert_jax.sequence",),
    ("dnabert_jax.io",),
    ("dnabert_jax.problems", "dnabert_jax.config"),
    ("dnabert_jax.families",),
    ("dnabert_jax.data",),
    ("dnabert_jax.data_prep",),
    ("dnabert_jax.model",),
    ("dnabert_jax.parallel",),
    ("dnabert_jax.telemetry",),
    ("dnabert_jax.training",),
    ("dnabert_jax.planning",),
    ("dnabert_jax.interop",),
    ("dnabert_jax.stream", "dnabert_jax.pretrained"),
    ("dnabert_jax.tasks",),
    ("dnabert_jax.interpret",),
    ("dnabert_jax.commands",),
]
# Data preparation reads and writes rows. It may see the parts that import no JAX, and commands alone may see it.
PREPARATION = "dnabert_jax.data_prep"
NOT_FOR_PREPARATION = ("jax.", "flax.", "dnabert_jax.data.pipeline.")


def modules() -> dict[str, Path]:
    found = {}
    for path in (ROOT / "dnabert_jax").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports_of(nodes: Iterable[ast.AST]) -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stage_of(name: str) -> int | None:
    for number, prefixes in enumerate(STAGES):
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes):
            return number
    return None


def test_every_module_has_its_stage() -> None:
    assert len(modules()) > 30
    assert [name for name in modules() if name != "dnabert_jax" and stage_of(name) is None] == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_one_way(name: str) -> None:
    own = stage_of(name)
    for imported in imports_of(ast.walk(ast.parse(modules()[name].read_text()))):
        other = stage_of(imported)
        assert own is None or other is None or other <= own, f"{name} imports {imported}, which comes after it"
        if name.startswith(PREPARATION):
            assert not f"{imported}.".startswith(NOT_FOR_PREPARATION), f"{name}: {imported}"
        elif not name.startswith("dnabert_jax.commands"):
            assert not imported.startswith(PREPARATION), f"{name}: {imported}"


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            "dnabert_jax.data_prep.genome, dnabert_jax.commands.cli, dnabert_jax.tasks.datasets.labelled, "
            "dnabert_jax.tasks.suites.report, dnabert_jax.tasks.baselines.linear, "
            "dnabert_jax.interpret.motifs.motif_files",
            ("jax", "flax", "grain", "torch", "tensorflow", "tensorflow_datasets", "matplotlib", "apache_beam",
             "sklearn", "scipy", "ahocorasick", "pandas", "logomaker"),
        ),
        (
            "dnabert_jax.training.loop, dnabert_jax.pretrained, dnabert_jax.interop.export",
            ("torch", "transformers", "huggingface_hub", "tensorflow", "tensorflow_datasets", "matplotlib"),
        ),
        ("dnabert_jax", ("jax", "flax", "numpy")),
    ],
    ids=["without JAX", "with JAX", "the package"],
)  # fmt: skip
def test_what_is_heavy_is_loaded_late(modules: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {modules}; print([name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"


def test_files_are_named_for_a_noun_and_say_why_they_exist() -> None:
    for name, path in modules().items():
        assert path.stem not in {"utils", "util", "common", "helpers", "helper", "misc", "manager"}, name
        assert ast.get_docstring(ast.parse(path.read_text())), f"{name} does not say why it exists"


def test_the_library_does_not_print_nor_read_the_environment() -> None:
    for name, path in modules().items():
        if name.startswith("dnabert_jax.commands"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "print"), f"{name} prints"
            assert not (isinstance(node, ast.Attribute) and node.attr == "environ"), f"{name} reads the environment"


FAMILY = re.compile(r"dnabert(?![-_]jax)|nucleotide.?transformer|hyena", re.IGNORECASE)
PROTOCOL = re.compile(r"dnabert(-[a-z0-9-]+)?")
"""Names that users give to what papers did, such as dnabert-prom-300, which is no matter of a family."""


def test_only_the_families_name_a_family_or_its_tokens() -> None:
    for name, path in modules().items():
        if name.startswith(("dnabert_jax.families", "dnabert_jax.sequence")):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        words = imports_of(ast.walk(tree)) | {getattr(node, "name", "") or "" for node in ast.walk(tree)}
        words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                words |= {node.value} if not PROTOCOL.fullmatch(node.value) else set()
        # Names of this project, from when there was one family: the class of all models, and INFO fields.
        words -= {"DNABERT", "dnabert_jax.pretrained.DNABERT", "DNABERT_"}
        assert not [word for word in words if FAMILY.search(word)], name
        # It counts words of three bases, whatever the tokens of a model are.
        if name != "dnabert_jax.tasks.datasets.strands":
            assert not [word for word in words if word.startswith("dnabert_jax.sequence.kmers")], name


def opens_text_by_the_locale(call: ast.Call) -> bool:
    """Whether a call opens a file as text without saying in which encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in ("open", "read_text", "write_text") or any(word.arg == "encoding" for word in call.keywords):
        return False
    if name != "open":
        return len(call.args) < (1 if name == "read_text" else 2)
    is_method = isinstance(call.func, ast.Attribute)
    module = call.func.value.id if is_method and isinstance(call.func.value, ast.Name) else ""
    if module in ("gzip", "os", "zipfile"):
        return any(isinstance(word, ast.Constant) and "t" in str(word.value) for word in call.args[1:])
    modes = call.args[:1] if is_method else call.args[1:2]
    # What opens with anything but a mode is something else than a path.
    return all(isinstance(mode, ast.Constant) and "b" not in str(mode.value) for mode in modes)


def test_text_is_utf8_in_any_locale() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.Call) and opens_text_by_the_locale(node)), f"{name}:{node.lineno}"


def test_tests_mirror_the_packages() -> None:
    folders = {path.name for path in (ROOT / "dnabert_jax").iterdir() if path.is_dir() and path.name[0] not in "_."}
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert folders - {"sample"} <= tested


def test_modules_import_the_core_dependencies_and_functions_those_of_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    del extras["test"]
    core = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    optional = {re.split(r"[^\w-]", requirement)[0] for extra in extras.values() for requirement in extra}
    providers = importlib.metadata.packages_distributions()
    outside = {"dnabert_jax.data_prep.genome_beam"}  # which is imported in a function of dnabert_jax.commands.prepare
    for name, path in modules().items():
        tree = ast.parse(path.read_text())
        at_once = core | optional if name in outside else core
        for nodes, allowed in ((tree.body, at_once), (ast.walk(tree), core | optional)):
            for module in {imported.partition(".")[0] for imported in imports_of(nodes)} - {"dnabert_jax"}:
                if module not in sys.stdlib_module_names:
                    assert allowed & {*providers.get(module, [module])}, f"{name} imports {module}"


def test_extras_are_required_by_their_names() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    required = set()
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("require_extra", "install_command"):
                required |= {word.value for word in node.args[:1] if isinstance(word, ast.Constant)}
    assert required == extras - {"gcs", "tensorboard", "tensorflow", "test"}
