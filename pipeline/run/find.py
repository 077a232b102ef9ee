"""From what a person typed to a run folder and the chain in it, without reading more of the config than its folder."""

import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from fdbpl.slurm.chain import Chain, chain_file, load_chain

if TYPE_CHECKING:
    from fdbpl.pipeline.config import RunConfig


def run_folder(path: Path) -> Path:
    """The run folder of a config file, or the folder itself.

    Raises:
        ValueError: neither is there, or the file names no folder.
    """
    if path.is_dir():
        return path.resolve()
    if not path.is_file():
        raise ValueError(f"found nothing at {path}, expected a run's config file or its folder")
    try:
        folder = tomllib.loads(path.read_text())["folder"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{path}: found no `folder = …` in it ({error}), expected a run's config") from error
    return path.resolve().parent / str(folder)


def name_of(path: Path, folder: Path) -> Path:
    """What names a run from now on: its config, or its folder where an override has made that another one."""
    return path if run_folder(path) == folder else folder


def as_argument(path: Path) -> str:
    """A path as a command's argument: one that begins with a dash would be taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def config_of_run(path: Path) -> "RunConfig":
    """The config of a file, or the one that a run folder was given last.

    A folder may have been moved or copied since: what lay in it is looked for where it is now.

    Raises:
        ValueError: as `read_config`; a folder that holds no config of a run.
    """
    # Who asks how a run stands needs no config.
    from fdbpl.pipeline.config_file import read_config
    from fdbpl.pipeline.run_folder import RunFolder, saved_config

    if not path.is_dir():
        return read_config(path)
    kept = sorted(RunFolder(path).configs.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    if not kept:
        raise ValueError(f"found no run in {path}, expected a run's folder or its config file: `fdbpl runs` lists them")
    config = saved_config(kept[-1])
    here, store = path.resolve(), config.store
    if here == config.folder.resolve():
        return config
    if store.path.is_relative_to(config.folder):
        store = store.model_copy(update={"path": here / store.path.relative_to(config.folder)})
    return config.model_copy(update={"folder": here, "store": store})


def find_chain(path: Path) -> Chain:
    """The chain that was last submitted in the run folder of a config, or in that folder.

    Raises:
        ValueError: nothing was submitted there.
    """
    folder = run_folder(path)
    chain = load_chain(folder)
    if chain is None:
        config = "CONFIG" if path.is_dir() else shlex.quote(as_argument(path))
        raise ValueError(
            f"found nothing submitted in {folder}, expected {chain_file(folder)}: `fdbpl submit {config}` begins a run"
        )
    return chain
