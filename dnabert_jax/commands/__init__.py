"""Processes: the command line, one file a job. Each parses, checks and calls the library."""
