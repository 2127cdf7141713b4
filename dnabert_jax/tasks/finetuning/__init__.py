"""Many models trained in lockstep on labelled DNA."""
