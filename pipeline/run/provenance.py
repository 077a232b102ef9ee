"""Where a run's results come from: who submitted what, with which code and versions, and where its tasks ran."""

import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fdbpl.pipeline.versions import PACKAGES, code_revision, git_revision, installed
from fdbpl.slurm.chain import Chain, load_chain
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.records import TaskRecord, read_record


def note_submission(chain: Chain, *, command: str, backend: str) -> None:
    """Add to the run folder's provenance what is submitted now, and by what."""
    path = provenance_file(chain.folder)
    submissions = (read_json(path) or {"submissions": []})["submissions"]
    submissions.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": command,
            "backend": backend,
            "steps": [step.name for step in chain.steps],
            "environment": dict(chain.environment),
            "user": os.environ.get("USER") or str(os.geteuid()),
            "host": platform.node(),
            "python": platform.python_version(),
            "versions": installed(PACKAGES),
            "code": code_revision(),
            "working_directory": git_revision(Path.cwd()),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"submissions": submissions})


def provenance_file(folder: Path) -> Path:
    return folder / "records" / "provenance.json"


def last_submission(folder: Path) -> dict[str, Any]:
    """The latest entry of a run folder's provenance, or an empty dict."""
    submissions: list[dict[str, Any]] = (read_json(provenance_file(folder)) or {"submissions": []})["submissions"]
    return submissions[-1] if submissions else {}


def provenance(folder: Path) -> dict[str, Any]:
    """Submissions, and of each step: jobs, nodes, GPUs, attempts, seconds of all tasks together, and the span."""
    chain = load_chain(folder)
    submissions = (read_json(provenance_file(folder)) or {"submissions": []})["submissions"]
    steps = {} if chain is None else {step.name: _step_facts(chain, step.name) for step in chain.steps}
    return {"submissions": submissions, "steps": steps}


def _step_facts(chain: Chain, step: str) -> dict[str, Any]:
    paths = chain.paths(step)
    journal = read_journal(paths)
    records = [record for task in journal.latest if (record := read_record(paths, task)).started is not None]
    return {
        "jobs": [submission.array for submission in journal.submissions if submission.array],
        "nodes": dict(Counter(record.host for record in records)),
        "devices": dict(Counter(str((record.result or {}).get("device", "")) for record in records)),
        "tasks": len(records),
        "attempts": sum(record.attempt for record in records),
        "task_seconds": round(sum(_seconds(record) for record in records), 1),
        "started": min((record.started for record in records if record.started), default=None),
        "ended": max((record.ended for record in records if record.ended), default=None),
    }


def _seconds(record: TaskRecord) -> float:
    return record.ended - record.started if record.ended and record.started else 0.0
