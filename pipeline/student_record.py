"""Whether a student is finished, told by files alone: what it depends on by content, and the record that it left.

Imports no torch: those who ask it of hundreds of students train none.
"""

import json
from typing import Any

from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.labels_manifest import expected_fields, names_digest
from fdbpl.pipeline.run_folder import RunFolder, StudentFolder
from fdbpl.pipeline.students import StudentPlan
from fdbpl.pipeline.weights import weights_source


def is_finished(config: RunConfig, plan: StudentPlan, data: DataSet) -> bool:
    """Whether that student's prompts are there, and were made as they would be now."""
    return finished_record(RunFolder(config.folder).student(plan.id), student_identity(config, plan, data)) is not None


def student_identity(config: RunConfig, plan: StudentPlan, data: DataSet) -> dict[str, Any]:
    """All that a finished student depends on, by content: change one of it and the student is trained anew.

    The same files in another folder are the same; another checkpoint under the same name is not. A student that
    starts from another depends on all that the other does.
    """
    labels = expected_fields(config)
    if plan.supervision == "hard":
        del labels["teacher"], labels["classes"]
    identity = {
        "student": plan.choices() | {"source": weights_source(plan.config.pretrained)},
        "class_names": names_digest(data.class_names),
        "images": data.train.digest,
        "num_seeds": config.crops.seeds,
        **labels,
    }
    if plan.source is not None:
        identity["starts_from"] = identity_digest(student_identity(config, plan.source, data))
    return identity


def identity_digest(identity: dict[str, Any]) -> str:
    """An identity in short: 'sha256:…' of its canonical JSON."""
    return digest_of(canonical_json(identity).encode())


def finished_record(folder: StudentFolder, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a student that is finished and was made as it would be now, else None."""
    if not folder.record_file.exists() or not folder.prompts_file.exists():
        return None
    record: dict[str, Any] = json.loads(folder.record_file.read_text())
    return record if record["identity"] == json.loads(json.dumps(identity)) else None
