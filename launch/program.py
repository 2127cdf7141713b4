"""How the user called this program, for the commands that it advises."""

import os
import shlex
import shutil
import sys

_NAME = "dnabert-jax"


def program() -> str:
    """Returns what to type to call this program again: its name where the shell finds it, else the path it has."""
    called = sys.argv[0]
    if os.path.basename(called) != _NAME or not os.path.isfile(called):
        return _NAME
    on_path = shutil.which(_NAME)
    return _NAME if on_path and os.path.samefile(on_path, called) else shlex.quote(called)


def command(*words: object) -> str:
    """Returns a command of this program, quoted for a shell."""
    return " ".join([program(), *(shlex.quote(str(word)) for word in words)])
