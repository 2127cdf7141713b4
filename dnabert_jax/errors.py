"""The errors that the command line prints as a sentence, without a traceback."""

import contextlib
import re
from collections.abc import Iterator


class InputError(Exception):
    """Bad input, exit status 2: one sentence that names the file, the record or the value, and what to do."""


class StoreError(InputError):
    """An object store does not answer, or fails, as often as it is asked."""


class JobError(RuntimeError):
    """A job cannot go on though its input was sound; exit status 1."""


@contextlib.contextmanager
def device_memory_errors(advice: str) -> Iterator[None]:
    """Turns what JAX raises where a device's memory is full into a JobError that ends with this advice."""
    try:
        yield
    # What JAX raises is one, and JAX is not loaded here.
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        wanted = re.search(r"allocat\w* (\d[\d.]* ?\w+)", str(error))
        amount = f" for {wanted[1]} more" if wanted else ""
        raise JobError(f"The memory of a device has no room{amount}: {advice}.") from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of JAX says that a device's memory is full."""
    return "RESOURCE_EXHAUSTED" in str(error)
