"""The one error that is a user's to mend; the command line prints it as a sentence and exits with status 2."""


class InputError(ValueError):
    """Bad input: the message is one sentence that names the file, the record or value, and what to do."""
