"""Beam's own options, and a pipeline run to its end."""

from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from dnabert_jax.errors import InputError, JobError, StoreError

_UNKNOWN_OPTIONS_ARE_REFUSED_BY = (None, "DirectRunner", "DataflowRunner")
"""The others hand what Beam's Python does not know to the job server that they submit to."""

_LONGEST_ERROR = 400
"""Letters of an error, from its end: some runners put a whole traceback before the message."""


def checked_options(arguments: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options; raises InputError if one is unknown, or would not let us wait for the end."""
    for argument, before in zip(arguments, ("", *arguments), strict=False):
        if not argument.startswith("-") and not (before.startswith("--") and "=" not in before):
            raise InputError(f"The Beam option {argument!r} is no option and no value of one: check its spelling.")
    options = PipelineOptions(list(arguments))
    known = options.get_all_options()
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown and known["runner"] in _UNKNOWN_OPTIONS_ARE_REFUSED_BY:
        raise InputError(f"Beam does not know the option --{min(unknown)}: check its spelling.")
    if "--no_wait_until_finish" in arguments:
        raise InputError("The pipelines are waited for, as the manifest is written at the end: no_wait_until_finish.")
    return options


def run_to_end(build: Callable[[beam.Pipeline], object], options: PipelineOptions) -> None:
    """Runs a pipeline to its end, and cancels it if interrupted; raises JobError if it fails."""
    try:
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise
    except StoreError:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        # Each runner has exceptions of its own, without a common base. None is swallowed: it is the cause of the
        # JobError, and what went wrong on another machine stands in the runner's log, with its place.
        what = f"{type(error).__name__}: {' '.join(str(error).split())[-_LONGEST_ERROR:]}"
        raise JobError(f"The Beam pipeline failed with {what.rstrip(': .')}.") from error
    if state != beam.runners.runner.PipelineState.DONE:
        raise JobError(f"The Beam pipeline ended in the state {state}: look into the runner's log.")
