"""Fixtures that several folders of tests share: a real Slurm cluster that a test has for itself."""

import importlib.util
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TOLD = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a number that a test tried, such as its kills, at the end of the run."""
    return request.config.stash.setdefault(TOLD, []).append


def pytest_configure() -> None:
    """What a shell runs in the background ignores Ctrl-C, and so would the programs that tests send it to."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most long tests first: where processes share files, none is left with a long one at the end."""
    long: Counter[Path] = Counter()
    for item in items:
        # A Slurm cluster's start and its tasks take longest.
        long[item.path] += 2 * bool(item.get_closest_marker("slurm")) + bool(item.get_closest_marker("slow"))
    items.sort(key=lambda item: -long[item.path])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs a part of the tests (pytest -n) hands its numbers to the one that shows them."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["told"] = session.config.stash.get(TOLD, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told = getattr(node, "workeroutput", {}).get("told", [])
    node.config.stash.setdefault(TOLD, []).extend(told)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    told = config.stash.get(TOLD, [])
    if told:
        terminalreporter.section("numbers tried")
        for line in told:
            terminalreporter.write_line(line)


def load_by_path(path: Path) -> Any:
    """A module beside the tests. The tests are no package, so it is imported by its place."""
    name = f"fdbpl_tests_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


slurm_cluster_module = load_by_path(Path(__file__).with_name("slurm_cluster.py"))
accounting_module = load_by_path(Path(__file__).with_name("slurm_accounting.py"))


@pytest.fixture
def make_slurm_cluster(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Starts clusters (see SlurmCluster); the last one started is the one that sbatch and squeue talk to.

    Beside a cluster's own options it takes `folder`, and `with_accounting`: with a database behind sacct.
    """
    slurm_cluster_module.require_slurm(slurm_cluster_module.missing_programs(), os.environ)
    started: list[Any] = []

    def make(*, folder: Path | None = None, with_accounting: bool = False, **options: Any) -> Any:
        folder = folder or tmp_path_factory.mktemp("slurm")
        if with_accounting:
            missing = slurm_cluster_module.missing_programs(accounting_module.PROGRAMS)
            slurm_cluster_module.require_slurm(missing, os.environ, accounting_module.HOW_TO_INSTALL)
            accounting = accounting_module.Accounting(folder, slurm_cluster_module)
            started.append(accounting)
            accounting.start()
            options["settings"] = {**options.get("settings", {}), **accounting.settings}
        cluster = slurm_cluster_module.SlurmCluster(folder, **options)
        cluster.start()
        started.append(cluster)
        monkeypatch.setenv("SLURM_CONF", str(cluster.config))
        return cluster

    yield make
    for one in reversed(started):
        one.stop()


@pytest.fixture
def slurm_cluster(make_slurm_cluster: Callable[..., Any]) -> Any:
    """A running cluster of two nodes; sbatch and the other commands talk to it."""
    return make_slurm_cluster()


@pytest.fixture
def cluster_module() -> Any:
    """The module tests/slurm_cluster.py, for its `wait_until` and its other helpers."""
    return slurm_cluster_module
