"""The copy of a store that students read on a node's own disk, where the site profile names a folder for it."""

import logging
import os
from pathlib import Path

from fdbpl.cache_layout.disk_space import NoSpace
from fdbpl.cache_layout.staging import stage_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.feature_names import campaign_of
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.students.plan import StudentPlan

logger = logging.getLogger(__name__)
# Set in a run's tasks: the profile's `staging`, with $NAMES as they are to be filled in on the node.
STAGING_VARIABLE = "FDBPL_STAGING"


def store_to_read(config: RunConfig, plan: StudentPlan) -> Path:
    """The store that a student reads: in a Slurm job a copy on the node's disk where the site has a place for it, made
    by the first student there; else, or where that disk is too small, the run's own.

    Raises:
        ValueError: the place names a variable that is not set on this node.
        CacheError: what is to be copied is not sealed, or not as recorded.
    """
    place = os.environ.get(STAGING_VARIABLE, "")
    if not place or not plan.needs_store or "SLURM_JOB_ID" not in os.environ:
        return config.store.path
    folder = os.path.expandvars(place)
    if "$" in folder:
        raise ValueError(f"staging of the site profile: found {place!r}, of which {folder!r} is not set on this node")
    campaigns = [CAMPAIGN, *([campaign_of(plan.config)] if plan.stores_features else [])]
    try:
        return stage_store(config.store.path, folder, campaigns=campaigns, on_wait=logger.warning)
    except NoSpace as error:
        logger.warning("reading %s where it lies: %s", config.store.path, error)
        return config.store.path
