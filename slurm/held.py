"""Jobs that Slurm has put back into the queue and holds there, as it could not launch them: after a crash of its
controller, or on a node with a fault. Without a word from somebody they would wait for ever, and the checks with them.
"""

import logging
from collections import Counter

from fdbpl.slurm.controller import release
from fdbpl.slurm.queue import Queue

logger = logging.getLogger(__name__)
# A job that is held again and again has a reason that a person must look for.
RELEASES = 3


def release_held(queue: Queue, released: Counter[str] | None = None) -> None:
    """Let held jobs go on, each a few times at most.

    Args:
        queue: of the chain.
        released: how often each job has been already; counted on.

    Raises:
        SlurmError: the controller does not answer.
    """
    released = Counter() if released is None else released
    jobs = [job for job in queue.held_jobs() if released[job] < RELEASES]
    if jobs:
        logger.warning("Slurm could not launch %s and holds them: released", " ".join(jobs))
        release(jobs)
        released.update(jobs)
