"""Published numbers to stand beside ours where the set-up is the same: averages over the field's data sets, in percent.

Sources: the tables of the papers, and PromptKD's and PromptSRC's own tables of methods before them; KDPL's are those of
its poster and paper. A number that could not be verified is not here; FDBPL's tables are among these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fdbpl.pipeline.config import ModelConfig, Protocol
from fdbpl.pipeline.datasets.catalog import ELEVEN, VARIANTS

_VIT_B_16 = ("ViT-B-16", "ViT-B-16-quickgelu")
_VIT_B_32 = ("ViT-B-32", "ViT-B-32-quickgelu")
_RN50 = ("RN50", "RN50-quickgelu")
# Of all methods that follow a teacher.
PUBLISHED_TEACHER = ("ViT-H-14-quickgelu", "dfn5b")
# Training images a class, of all of them.
PUBLISHED_SHOTS = 16


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published of a method.

    Attributes:
        protocol, models: the set-up; open_clip's names of the student, with OpenAI's weights.
        learner, objective: the method; "" is hand-written prompts.
        values: column -> percent, averaged over the protocol's data sets.
        source: where it stands.
    """

    protocol: Protocol
    models: tuple[str, ...]
    learner: str
    objective: str
    values: Mapping[str, float]
    source: str


def _base_to_new(learner: str, base: float, new: float, hm: float) -> Published:
    return Published(
        protocol="base-to-new",
        models=_VIT_B_16,
        learner=learner,
        objective="cross_entropy" if learner else "",
        values={"base": base, "new": new, "hm": hm},
        source="PromptSRC, arXiv 2307.06948",
    )


def _new_only(models: tuple[str, ...], learner: str, objective: str, new: float) -> Published:
    return Published(
        protocol="base-to-new",
        models=models,
        learner=learner,
        objective=objective,
        values={"new": new},
        source="KDPL, arXiv 2407.03056",
    )


def _carried(protocol: Protocol, learner: str, objective: str, values: Mapping[str, float], source: str) -> Published:
    models = _VIT_B_32 if "imagenet" in values else _VIT_B_16
    return Published(
        protocol=protocol, models=models, learner=learner, objective=objective, values=values, source=source
    )


_KDPL = "KDPL, arXiv 2407.03056"
_PROMPTKD = "PromptKD, arXiv 2403.02781"
PUBLISHED: tuple[Published, ...] = (
    _base_to_new("", 69.34, 74.22, 71.70),
    _base_to_new("coop", 82.69, 63.22, 71.66),
    _base_to_new("cocoop", 80.47, 71.69, 75.83),
    _base_to_new("maple", 82.28, 75.14, 78.55),
    _base_to_new("promptsrc", 84.26, 76.10, 79.97),
    _new_only(_RN50, "coop", "cross_entropy", 60.82),
    _new_only(_RN50, "coop", "kdpl", 63.80),
    _new_only(_RN50, "cocoop", "cross_entropy", 64.39),
    _new_only(_RN50, "cocoop", "kdpl", 66.80),
    _new_only(_VIT_B_32, "coop", "cross_entropy", 64.52),
    _new_only(_VIT_B_32, "coop", "kdpl", 66.35),
    _new_only(_VIT_B_32, "vpt", "cross_entropy", 68.02),
    _new_only(_VIT_B_32, "vpt", "kdpl", 68.76),
    _new_only(_VIT_B_32, "maple", "cross_entropy", 69.79),
    _new_only(_VIT_B_32, "maple", "kdpl", 71.41),
    *(
        _carried("cross-dataset", learner, "cross_entropy", {"mean": mean}, _PROMPTKD)
        for learner, mean in (("coop", 63.88), ("cocoop", 65.74), ("maple", 66.30), ("promptsrc", 65.81))
    ),
    *(
        _carried("domain-generalisation", learner, "cross_entropy" if learner else "", {"mean": mean}, _PROMPTKD)
        for learner, mean in (("", 57.18), ("coop", 59.28), ("cocoop", 59.91), ("maple", 60.27), ("promptsrc", 60.65))
    ),
    *(
        _carried("domain-generalisation", learner, objective, {"imagenet": own, "mean": mean}, _KDPL)
        for learner, objective, own, mean in (
            ("", "", 62.00, 47.78),
            ("coop", "cross_entropy", 66.33, 49.26),
            ("coop", "kdpl", 65.97, 49.90),
            ("coop", "kdpl_ca", 64.73, 49.63),
            ("vpt", "cross_entropy", 64.97, 47.88),
            ("vpt", "kdpl", 65.10, 48.57),
            ("maple", "cross_entropy", 66.80, 49.32),
            ("maple", "kdpl", 66.50, 49.70),
            ("promptsrc", "cross_entropy", 66.33, 50.67),
            ("promptsrc", "kdpl", 66.27, 50.55),
        )
    ),
)


def published(
    protocol: Protocol,
    student: ModelConfig,
    learner: str,
    objective: str,
    *,
    teacher: ModelConfig,
    data_sets: Sequence[str],
) -> Published | None:
    """What was published of that method under the same protocol, student, teacher and data sets, or None.

    Args:
        teacher: compared where the objective follows one.
        data_sets: all that ours is averaged over; published averages are over all of the field's.
    """
    whole = {"cross-dataset": ELEVEN[1:], "domain-generalisation": VARIANTS}.get(protocol, ELEVEN)
    if student.pretrained != "openai" or set(data_sets) != set(whole):
        return None
    if objective not in ("", "cross_entropy") and (teacher.model, teacher.pretrained) != PUBLISHED_TEACHER:
        return None
    found = [
        one
        for one in PUBLISHED
        if (one.protocol, one.learner, one.objective) == (protocol, learner, objective) and student.model in one.models
    ]
    return found[0] if found else None
