"""The lists of data sets that are told by folders, made once and kept in the run's folder.

Hundreds of tasks read the list and list no folder. It is kept under the digest of its content: tasks that wait in a
queue keep theirs when a later command finds other images.
"""

import json

from fdbpl.cache_layout.manifest import digest_of
from fdbpl.pipeline.config import DataConfig, RunConfig
from fdbpl.pipeline.data.defaults import with_defaults
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.layouts import reader_of
from fdbpl.pipeline.datasets.split_json import split_content
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.whole_file import replace_file


def with_kept_list(config: RunConfig) -> RunConfig:
    """The config with lists of images as split files in place of folders that told them, of its own data set and of its
    targets; else the config as it is. For commands that begin work: the folders are listed anew each time.

    Raises:
        ValueError: as of `load_data`.
    """
    targets = tuple(_kept(config, target) for target in config.evaluate.targets)
    evaluate = config.evaluate.model_copy(update={"targets": targets})
    return config.model_copy(update={"data": _kept(config, config.data), "evaluate": evaluate})


def _kept(config: RunConfig, data: DataConfig) -> DataConfig:
    section = with_defaults(data)
    if not reader_of(section.layout).lists_folders:
        return data
    content = json.dumps(split_content(load_data(section))).encode()
    path = RunFolder(config.folder).data_list(digest_of(content))
    if not path.exists():
        replace_file(path, content)
    return section.model_copy(update={"layout": "split_json", "split": str(path)})
