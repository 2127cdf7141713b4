"""What is in a folder that people keep, without the files that their systems put there."""

from pathlib import Path

from dnabert_jax.storage import is_hidden


def visible(directory: Path) -> list[Path]:
    """Returns the files and folders in a folder that are not those of a system, sorted."""
    return sorted(path for path in directory.iterdir() if not is_hidden(path.name))


def visible_files(directory: Path) -> list[Path]:
    """Returns the files in a folder, at any depth, that are not those of a system, sorted."""
    found = [own for path in visible(directory) for own in (visible_files(path) if path.is_dir() else [path])]
    return sorted(path for path in found if path.is_file())
