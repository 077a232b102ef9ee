"""Whether a student is finished, told by files alone: what it depends on by content, and the record that it left.

Imports no torch: those who ask it of hundreds of students train none.
"""

import json
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

from fdbpl.cache_layout.manifest import canonical_json, digest_of
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import subset_digest
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.labels.manifest import expected_fields, names_digest
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.run_folder import RunFolder, StudentFolder
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.weights import weights_source


def is_finished(config: RunConfig, plan: StudentPlan, data: DataSet) -> bool:
    """Whether that student's prompts are there, and were made as they would be now."""
    return finished_records(config, [plan], data)[plan.id] is not None


def finished_records(
    config: RunConfig, plans: Iterable[StudentPlan], data: DataSet
) -> dict[str, dict[str, Any] | None]:
    """The record of each student that is finished, else None, by its id: two looks at files for each student, and
    what they share is computed once."""
    folder, identities = RunFolder(config.folder), Identities(config, data)
    return {plan.id: finished_record(folder.student(plan.id), identities.of(plan)) for plan in plans}


def student_identity(config: RunConfig, plan: StudentPlan, data: DataSet) -> dict[str, Any]:
    """What that student depends on; see `Identities`."""
    return Identities(config, data).of(plan)


class Identities:
    """All that a finished student depends on, by content: change one of it and the student is trained anew.

    The same files in another folder are the same; another checkpoint under the same name is not. A student that
    starts from another depends on all that the other does. Files are looked at once for all students of one object.
    """

    def __init__(self, config: RunConfig, data: DataSet) -> None:
        self._labels, self._template = expected_fields(config), config.data.template
        self._shared = {
            "class_names": names_digest(data.class_names),
            "images": data.train.digest,
            "num_seeds": config.crops.seeds,
        }
        self._weights = lru_cache(maxsize=None)(weights_source)
        self._subset = lru_cache(maxsize=None)(partial(subset_digest, data))
        self._digests: dict[str, str] = {}

    def of(self, plan: StudentPlan) -> dict[str, Any]:
        uses = learner_entry(plan.learner).uses
        follows_teacher = plan.supervision != "hard" or plan.weighs_views or "teacher" in uses
        unseen = () if follows_teacher else ("teacher", "classes")
        identity = {
            "student": plan.choices() | {"source": self._weights(plan.config.pretrained)},
            **self._shared,
            **{name: value for name, value in self._labels.items() if name not in unseen},
        }
        for key in ("prompts", "vocabulary"):
            if name := getattr(plan.config, key):
                identity[key] = self._weights(name)
        if plan.own_files:
            identity["own_code"] = [self._weights(str(file)) for file in plan.own_files]
        if "template" in uses:
            identity["template"] = self._template
        given = self._subset(plan.shots, plan.seed)
        if given:
            identity["few_shot"] = given
        if plan.source is not None:
            identity["starts_from"] = self._digest(plan.source)
        return identity

    def _digest(self, plan: StudentPlan) -> str:
        if plan.id not in self._digests:
            self._digests[plan.id] = identity_digest(self.of(plan))
        return self._digests[plan.id]


def identity_digest(identity: dict[str, Any]) -> str:
    """An identity in short: 'sha256:…' of its canonical JSON."""
    return digest_of(canonical_json(identity).encode())


def finished_record(folder: StudentFolder, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a student that is finished and was made as it would be now, else None."""
    if not folder.record_file.exists() or not folder.prompts_file.exists():
        return None
    record: dict[str, Any] = json.loads(folder.record_file.read_text())
    return record if record["identity"] == json.loads(json.dumps(identity)) else None
