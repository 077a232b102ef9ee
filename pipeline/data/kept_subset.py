"""The few-shot images that a run's students learn from, kept in the run's folder: one file for each (shots, seed)."""

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import subset_ids
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.datasets.subset_file import subset_content
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.whole_file import replace_file


def keep_subset(config: RunConfig, data: DataSet, shots: int, seed: int) -> None:
    """Write the subset of all classes, drawn or given, as JSON with relative paths, where it is not there as it is now.

    Students of one seed write the same bytes, so it does not matter which of them comes first. A file of an older
    subset is replaced, as its students are. Raises ValueError as of `subset_ids`.
    """
    if not shots:
        return
    content = subset_content(data, subset_ids(data, shots, seed))
    path = RunFolder(config.folder).subset(shots, seed)
    if not path.exists() or path.read_bytes() != content:
        replace_file(path, content)
