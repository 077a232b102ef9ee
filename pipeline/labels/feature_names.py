"""Where students' stored features lie in a store, and what a run expects of them; known without loading a model."""

from typing import Any

from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.students.plan import list_plans
from fdbpl.pipeline.weights import model_key, weights_source


def campaign_of(student: StudentConfig) -> str:
    return f"student/{model_key(student)}"


def feature_array(student: StudentConfig) -> str:
    return f"{campaign_of(student)}/embedding"


def feature_campaigns(config: RunConfig) -> dict[str, StudentConfig]:
    """The feature passes that a config's students ask for, by campaign."""
    return {campaign_of(plan.config): plan.config for plan in list_plans(config) if plan.stores_features}


def expected_features(student: StudentConfig) -> dict[str, Any]:
    """What a run expects of stored features, known without loading the student."""
    return {
        "model": student.model,
        "source": weights_source(student.pretrained),
        "precision": student.precision,
    }
