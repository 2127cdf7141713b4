"""The errors that the command line prints as a sentence, without a traceback."""


class InputError(Exception):
    """Bad input, exit status 2: one sentence that names the file, the record or the value, and what to do."""


class StoreError(InputError):
    """An object store does not answer, or fails, as often as it is asked."""


class JobError(RuntimeError):
    """A job cannot go on though its input was sound; exit status 1."""
