"""Prompts that tell themselves how they are used: model, learner and options stand in their file's header.

Whoever has the file and the model's weights needs no config and no run folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.config import ModelConfig, RunConfig
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.students.start_file import USE
from fdbpl.pipeline.training.checkpoint import load_into, read_prompts


@dataclass(frozen=True, kw_only=True)
class Use:
    """How prompts are used.

    Attributes:
        model: the CLIP that they were learned on.
        learner, learner_options: what learned them.
        dual: whether there are negative ones.
        class_names: those trained on.
        template: the data set's hand-written prompt.
        teacher: whose text features are the classifier, for learners that ask for them; with `templates`.
    """

    model: ModelConfig
    learner: str
    learner_options: dict[str, Any]
    dual: bool
    class_names: tuple[str, ...]
    template: str
    teacher: ModelConfig | None = None
    templates: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("learner", "learner_options", "dual", "template")},
            "model": self.model.model_dump(mode="json"),
            "teacher": self.teacher.model_dump(mode="json") if self.teacher is not None else None,
            "templates": list(self.templates),
            "class_names": list(self.class_names),
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Use":
        model, teacher = values["model"], values["teacher"]
        lists = {name: tuple(values[name]) for name in ("class_names", "templates")}
        return Use(
            **{
                **values,
                **lists,
                "model": ModelConfig.model_validate(model),
                "teacher": ModelConfig.model_validate(teacher) if teacher is not None else None,
            }
        )


def use_of(config: RunConfig, plan: StudentPlan, class_names: Sequence[str]) -> Use:
    """How a student's prompts are used."""
    fields = ("model", "pretrained", "precision")
    table, teacher = plan.config, config.teacher
    return Use(
        model=ModelConfig(**{name: getattr(table, name) for name in fields}),
        learner=plan.learner,
        learner_options=plan.given_options,
        dual=plan.make_objective().dual,
        class_names=tuple(class_names),
        template=config.data.template,
        teacher=ModelConfig(**{name: getattr(teacher, name) for name in fields}),
        templates=teacher.templates,
    )


def load_learner(
    path: Path, device: str = "cpu", *, pretrained: str | None = None, teacher: str | None = None
) -> tuple[Learner, Use]:
    """The learner that a file of prompts holds, ready to be asked about any class names.

    Args:
        path: of the file.
        device: cpu or cuda.
        pretrained: weights of the model, where they lie elsewhere than they did; a tag or a checkpoint file.
        teacher: the same of the teacher.

    Raises:
        ValueError: no such file, or one that says nothing of its use; weights that are not there.
    """
    if not path.is_file():
        raise ValueError(f"found no file {path}, expected prompts: `fdbpl train` or `fdbpl import-prompts` writes them")
    prompts, facts = read_prompts(path)
    if USE not in facts:
        raise ValueError(f"{path}: found prompts that do not say how they are used, expected those of a newer training")
    use = Use.from_json(facts[USE])
    model = use.model if pretrained is None else use.model.model_copy(update={"pretrained": pretrained})

    def teacher_texts(class_names: Sequence[str]) -> Tensor:
        assert use.teacher is not None, "only learners of a teacher's run ask for its texts"
        named = use.teacher if teacher is None else use.teacher.model_copy(update={"pretrained": teacher})
        return text_classifier(load_backbone(named, device), class_names, use.templates)

    context = LearnerContext(
        backbone=load_backbone(model, device),
        class_names=use.class_names,
        dual=use.dual,
        template=use.template,
        teacher_texts=teacher_texts if use.teacher is not None else None,
    )
    learner = learner_options(use.learner, use.learner_options).build(context)
    load_into(learner, prompts)
    return learner.eval(), use
