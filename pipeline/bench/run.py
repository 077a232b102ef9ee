"""`fdbpl bench cache` as a function: the data are written, every reader is checked, then measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.measure import Measuring
from fdbpl.pipeline.bench.measurement import OURS, Measurement, ratios
from fdbpl.pipeline.bench.memory import measure_memory
from fdbpl.pipeline.bench.parameters import BenchParameters
from fdbpl.pipeline.bench.peers.all_peers import make_peers
from fdbpl.pipeline.bench.peers.peer import Peer
from fdbpl.pipeline.bench.prepare import OWN_FOLDER, build, check, space
from fdbpl.pipeline.bench.worker_pool import WorkerPool
from fdbpl.pipeline.progress import Ui


def plan_bench(parameters: BenchParameters, folder: Path) -> dict[str, Any]:
    """What a run would write, where, and the least time that it would read; writes nothing."""
    peers, skipped = _peers(parameters, folder)
    situations = len(parameters.patterns) * len(parameters.states) * len(parameters.processes)
    return {
        **space(peers, folder / OWN_FOLDER),
        "seconds_of_reading": situations * len(peers) * parameters.seconds,
        "skipped": skipped,
    }


def run_bench(parameters: BenchParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure, with test data in a folder of its own below `folder`, which stay there.

    Raises:
        ValueError: unknown readers, no room, or test data of other rows in the folder.
        WrongRows: a reader that gives other rows than were written.
        WorkerFailed: a process that failed.
    """
    peers, skipped = _peers(parameters, folder)
    for one in skipped:
        ui.say(f"{one['reader']} is skipped: {one['reason']}; {one['install']}")
    own = folder / OWN_FOLDER
    with ui.bar("write the test data", "readers") as on_progress:
        build(peers, own, on_progress)
    ui.say("check that every reader gives the rows that were written")
    check(peers, parameters.data)
    with WorkerPool(peers, parameters) as pool:
        with ui.bar("measure", "turns") as on_progress:
            measured = Measuring(peers, own, parameters, pool, on_progress).run()
        is_ours_there = any(peer.name == OURS for peer in peers)
        memory = measure_memory(pool, own) if is_ours_there else None
    return {
        "machine": machine({peer.package: peer.version for peer in peers}, own),
        "parameters": parameters.to_json(),
        "settings": {peer.name: peer.setting for peer in peers},
        "skipped": skipped,
        "notes": _notes(measured),
        "results": [one.to_json() for one in measured],
        "ratios": ratios(measured),
        "memory": memory,
    }


def _peers(parameters: BenchParameters, folder: Path) -> tuple[list[Peer], list[dict[str, str]]]:
    peers, skipped = make_peers(parameters.readers, folder / OWN_FOLDER, parameters.data)
    if not peers:
        cures = "; ".join(one["install"] for one in skipped)
        raise ValueError(f"readers: none of {', '.join(parameters.readers)} is installed: {cures}")
    return peers, skipped


def _notes(measured: Sequence[Measurement]) -> list[str]:
    """What a reader of the results must know of their states."""
    notes = []
    for state, is_wrong, meaning in (
        (
            "cold",
            lambda share: share > 0,
            "pages stayed in memory after eviction: not cold, as on tmpfs, or under heavy load",
        ),
        ("warm", lambda share: share < 1, "pages did not stay in memory: not warm, too little memory"),
    ):
        readers = sorted({o.reader for o in measured if o.situation.state == state and any(map(is_wrong, o.resident))})
        if readers:
            notes.append(f"{state}, {', '.join(readers)}: {meaning}")
    return notes
