"""Training images that a run goes on without: its store excludes them, for they could not be read.

The store's list is the one list: students draw from what it leaves, whether or not they read the store.
"""

from fdbpl.cache_layout.reader import Reader
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.data_set import DataSet


def run_data(config: RunConfig) -> DataSet:
    """The data set of a run, without the training images that its store excludes where the config allows that.

    Raises:
        ValueError, CacheError: as of `load_data` and `open_store`.
    """
    return without_excluded(config, load_data(config.data))


def without_excluded(config: RunConfig, data: DataSet) -> DataSet:
    """As `run_data`, of the run's data set as it is loaded."""
    if config.data.bad_images == "error" or not config.store.path.exists():
        return data
    return data.without({path for path, _ in open_store(config.store.path).excluded})


def check_excluded(store: Store | Reader, config: RunConfig, data: DataSet) -> None:
    """Refuse a store that excludes training images of a run which wants all of them. A reader compares its list with
    its digest.

    Raises:
        ValueError: as said.
    """
    if config.data.bad_images == "exclude":
        return
    excluded = store.excluded if isinstance(store, Store) else store.images.excluded
    wanted = set(data.train.paths) if excluded else ()
    found = [f"{path}: {reason}" for path, reason in excluded if path in wanted]
    if found:
        shown = "\n  ".join(found[:3] + ([f"... and {len(found) - 3} more"] if len(found) > 3 else []))
        raise ValueError(
            f'data.bad_images = "error": found {len(found)} of the training images excluded by the store at '
            f"{store.path}, expected none:\n  {shown}\n"
            'set data.bad_images = "exclude" to go on without them, or mend them and make the store anew at another '
            "store.path"
        )


def excluded_line(store: Store, data: DataSet) -> str:
    """How many of the training images a store excludes, and where they are listed; "" where it excludes none."""
    if not store.excluded:
        return ""
    wanted = {*data.train.paths, *data.excluded.paths}
    count = sum(path in wanted for path, _ in store.excluded)
    if not count:
        return ""
    return (
        f"{count} of {len(wanted)} training images cannot be read and are excluded: "
        f"`fdbpl cache info {store.path} --json` lists them"
    )
