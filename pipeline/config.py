"""The one file that describes a run, as typed models: what is not listed here cannot be set.

Every model is frozen and refuses unknown keys; `config_file` reads them from TOML.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fdbpl.cache_layout.crops import CropPolicy
from fdbpl.pipeline.datasets.catalog import LAYOUTS
from fdbpl.pipeline.datasets.subset_file import check_pattern

Precision = Literal["fp32", "fp16", "bf16"]
TextTower = Literal["packed", "compiled", "plain"]
Encoding = Literal["embedding", "logits", "topk"]
Supervision = Literal["hard", "online", "cached"]
# The steps of a run; all stages of students are `train`. `check` are the small jobs that look after each step.
StepName = Literal["prepare", "teach", "features", "test-features", "train", "test-students", "report", "check"]
Protocol = Literal["base-to-new", "few-shot", "cross-dataset", "domain-generalisation"]
ViewPolicy = Literal["cycle", "random", "informative", "curriculum"]
# Those that choose by what the teacher can tell of a crop.
WEIGHING: tuple[ViewPolicy, ...] = ("informative", "curriculum")
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """A data set: a known one by its name (`fdbpl data known`), any by its split file, or folders of classes."""

    name: str = Field(description="name of the data set, for tables and files; a known one needs its folder only")
    folder: Path = Field(description="folder of the data set")
    layout: str = Field(
        "", description="how it lies there: a known name, split_json, class_folders; empty: by `name`, or by `split`"
    )
    images: str = Field(
        "", description="its images, inside `folder`: a folder (. is itself), or tar shards: shards/*.tar"
    )
    split: str = Field("", description="its file of train, val and test lists, or of class names, inside `folder`")
    template: str = Field("", description="hand-written prompt of the zero-shot rows, such as 'a photo of a {}.'")
    few_shot: str = Field(
        "", description="few-shot subsets to use, e.g. split_fewshot/shot_{shots}-seed_{seed}.pkl; empty: drawn here"
    )
    digests: bool = Field(
        True, description="tie labels to the bytes of the image files by sha256; false: to their paths and sizes"
    )
    bad_images: Literal["error", "exclude"] = Field(
        "error", description="files that cannot be read: error, or exclude (left out and listed)"
    )

    @field_validator("layout")
    @classmethod
    def _known(cls, layout: str) -> str:
        if layout and layout not in LAYOUTS:
            near = get_close_matches(layout, LAYOUTS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"unknown layout{hint}, expected one of {', '.join(LAYOUTS)}")
        return layout

    @field_validator("few_shot")
    @classmethod
    def _a_pattern(cls, few_shot: str) -> str:
        check_pattern(few_shot)
        return few_shot


class ModelConfig(Section):
    """A CLIP of open_clip with its weights."""

    model: str = Field(description="open_clip model name")
    pretrained: str = Field(description="weights: a tag of open_clip, or a checkpoint file")
    precision: Precision = Field("fp32", description="arithmetic of the encoders: fp32, fp16 or bf16")


class TeacherConfig(ModelConfig):
    """The large CLIP whose soft labels are stored."""

    templates: tuple[str, ...] = Field((), description="prompts of its text classifier; none: the data set's own")


class CropConfig(Section):
    """The random crops of each image: RandomResizedCrop and a horizontal flip."""

    seeds: Positive = Field(16, description="crops of each image that the teacher labels")
    scale: tuple[float, float] = Field((0.08, 1.0), description="range of a crop's share of the image's area")
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="range of its width over its height")
    flip_probability: float = Field(0.5, description="how often it is mirrored")

    def policy(self, size: int) -> CropPolicy:
        return CropPolicy(size=size, scale=self.scale, ratio=self.ratio, flip_probability=self.flip_probability)

    @model_validator(mode="after")
    def _checked(self) -> "CropConfig":
        self.policy(1)  # refuses what makes no sense, with its own words
        return self


class StoreConfig(Section):
    """Where soft labels lie, and in what pieces they are written: one task writes one block."""

    path: Path = Field(Path("store.zarr"), description="the Zarr store; relative to the run's folder")
    images: Literal["all", "students"] = Field(
        "all", description="training images to label: all, or those that this run's students learn from"
    )
    images_per_block: Positive = Field(1024, description="images of a block")
    seeds_per_block: Positive = Field(16, description="crop seeds of a block")
    labels: tuple[Encoding, ...] = Field(
        ("embedding", "logits"), min_length=1, description="encodings to write: embedding, logits, topk"
    )
    top_k: Positive = Field(16, description="classes kept of each view by topk")

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: tuple[Encoding, ...]) -> tuple[Encoding, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("an encoding is there twice, expected each once")
        return labels


class LoadingConfig(Section):
    decoder: Literal["auto", "torchvision", "dali", "pillow"] = Field("auto", description="image decoder")
    batch_size: Positive = Field(256, description="crops a forward pass of teacher and feature passes")
    scan_threads: int = Field(
        0, ge=0, description="image files that are read at once before anything is computed; 0: two for each core"
    )
    device: str = Field("auto", description="auto (a GPU where there is one), cpu or cuda")
    compile: bool = Field(False, description="run the image encoders of both passes through torch.compile")


class OptimConfig(Section):
    """SGD with a constant warm-up and a cosine, stepped once an epoch: the field's recipe."""

    optimizer: Literal["sgd", "adam"] = Field("sgd", description="sgd (momentum 0.9) or adam")
    learning_rate: float = Field(0.002, gt=0, description="rate after the warm-up")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(5e-4, ge=0, description="decay of the prompts too, as published")
    warmup_epochs: int = Field(1, ge=0, description="epochs at the warm-up rate")
    warmup_learning_rate: float = Field(1e-5, gt=0, description="rate of the warm-up")


class StudentConfig(ModelConfig):
    """A grid of students: every learner x objective x supervision x shots x seed listed is one."""

    name: str = Field("", description="what its students' names begin with; needed where two tables agree")
    starts_from: str = Field(
        "", description="`name` of the table whose students' prompts its own begin with; empty: hand-written words"
    )
    prompts: str = Field("", description="file of prompts that its students begin with, in place of hand-written words")
    learner: tuple[str, ...] = Field(
        ("coop",), description="what is learned: coop, cocoop, vpt, maple, promptsrc, promptkd, or FILE.py:CLASS"
    )
    objective: tuple[str, ...] = Field(
        ("kdpl",),
        description="the loss: cross_entropy, pseudo_labels, kdpl, kdpl_ca, promptkd, fdbpl, or FILE.py:CLASS",
    )
    supervision: tuple[Supervision, ...] = Field(
        ("cached",), description="where targets come from: hard, online, cached"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (1, 2, 3), description="one student for each: few-shot subset and order"
    )
    classes: Literal["base", "all"] = Field("base", description="classes trained on: the first half, or all")
    shots: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (16,), min_length=1, description="training images a class; 0 takes all"
    )
    vocabulary: str = Field("", description="file of class names, one a line, for kdpl_ca")
    views: ViewPolicy = Field(
        "cycle", description="which crop of an image an epoch uses: cycle, random, informative, curriculum"
    )
    importance: bool = Field(
        False, description="with informative views: weigh each so that the expected loss is that of even draws"
    )
    features: Literal["stored", "live"] = Field(
        "stored", description="image features from the store, or from pixels in every step"
    )
    text_tower: TextTower = Field(
        "packed",
        description="text prompts without waste: packed, or compiled by torch; plain, to compare with: every position",
    )
    epochs: Positive = Field(50, description="passes over the training images")
    batch_size: Positive = Field(32, description="views a step")
    optim: OptimConfig = Field(default_factory=OptimConfig, description="optimiser and schedule")
    learner_options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options of each learner, by its name"
    )
    objective_options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options of each objective, by its name"
    )

    @field_validator("learner", "objective", "supervision", "seeds", "shots", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, (list, tuple)) else (value,)


class EvaluateConfig(Section):
    protocol: Protocol = Field(
        "base-to-new", description="what is measured: base-to-new, few-shot, cross-dataset, domain-generalisation"
    )
    reject: bool = Field(
        False, description="measure too how images of no listed class are told from the others: AUROC, FPR95"
    )
    targets: tuple[DataConfig, ...] = Field(
        (), description="data sets that prompts are carried to, by cross-dataset and domain-generalisation"
    )


class MetricsConfig(Section):
    """Where students' metrics go beside metrics.jsonl."""

    sinks: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        (), description="tensorboard, and wandb (Weights & Biases, offline unless WANDB_MODE says otherwise)"
    )
    project: str = Field("fdbpl", description="project of Weights & Biases")


class StepConfig(Section):
    """What tasks of one step ask for, where that differs from the run's."""

    cpus: Positive | None = Field(None, description="processors of a task")
    gpus: int | None = Field(None, ge=0, description="GPUs of a task")
    memory_gb: float | None = Field(None, gt=0, description="memory of a task")
    minutes: float | None = Field(None, gt=0, description="time limit of a task")
    max_workers: Positive | None = Field(None, description="tasks at a time")
    per_job: int | None = Field(None, ge=0, description="tasks that a job runs in turn; 0: what fills ten minutes")


class ClusterConfig(Section):
    """Where tasks run."""

    kind: Literal["auto", "local", "slurm"] = Field("auto", description="local pool, or Slurm job arrays")
    profile: str = Field("", description="site profile: NAME of NAME.toml beside this file, or in your profiles folder")
    max_workers: Positive = Field(2, description="tasks at a time: processes, or the array's limit")
    cpus: Positive = Field(1, description="processors of a task")
    gpus: int = Field(0, ge=0, description="GPUs of a task")
    memory_gb: float = Field(8, gt=0, description="memory of a task")
    minutes: float = Field(60, gt=0, description="time limit of a task")
    per_job: int = Field(0, ge=0, description="tasks that a job runs in turn; 0: what fills ten minutes")
    students_per_task: int = Field(
        0, ge=0, description="students alike that train as one program; 0: up to 16 that leave no worker idle"
    )
    slurm: dict[str, Any] = Field(
        default_factory=dict, description="keys of the site profile that this run sets itself, e.g. partition"
    )
    steps: dict[StepName, StepConfig] = Field(
        default_factory=dict, description="what differs in a step: prepare, teach, features, train, check, …"
    )


class RunConfig(Section):
    """A whole run, from images to the table."""

    folder: Path = Field(description="where everything of this run is kept")
    data: DataConfig
    teacher: TeacherConfig
    crops: CropConfig = Field(default_factory=CropConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    loading: LoadingConfig = Field(default_factory=LoadingConfig)
    student: tuple[StudentConfig, ...] = ()
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)

    @model_validator(mode="after")
    def _students_to_label_for(self) -> "RunConfig":
        if self.store.images == "students" and not self.student:
            raise ValueError('store.images = "students": found no [[student]] table, expected some, or "all"')
        if self.store.images == "students" and self.data.bad_images == "exclude":
            # An excluded image lets students draw another one, which would not be labelled.
            raise ValueError('store.images = "students": found data.bad_images = "exclude", expected "error", or "all"')
        return self
