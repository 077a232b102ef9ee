"""Errors of running tasks: what the scheduler refused or stopped answering.

What the caller did wrong is a ValueError; what a task did wrong is in its record, never raised.
"""


class SlurmError(Exception):
    """Slurm is missing, refused a request, or has not answered for too long."""


class NotStarted(Exception):
    """A run on this machine ended as soon as it began."""


class StepFailed(Exception):
    """Tasks of a step were given up, so that what comes after it cannot run."""
