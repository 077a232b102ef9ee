import tomllib
from pathlib import Path

import pytest

from fdbpl.pipeline.config import OptimConfig, RunConfig, StudentConfig
from fdbpl.pipeline.config_file import parse_config, read_config
from fdbpl.pipeline.datasets.catalog import ELEVEN, KNOWN, VARIANTS
from fdbpl.pipeline.presets.preset import PRESETS, preset_values, write_preset
from fdbpl.pipeline.students.checked import student_plans


@pytest.mark.parametrize("preset", PRESETS)
def test_a_written_preset_says_what_the_preset_means(preset: str, tmp_path: Path) -> None:
    path = tmp_path / "fdbpl.toml"
    write_preset(path, preset)
    assert read_config(path) == parse_config(preset_values(preset), base=tmp_path, where=preset)
    assert student_plans(read_config(path))


@pytest.mark.parametrize("preset", PRESETS)
def test_it_is_complete_and_commented(preset: str, tmp_path: Path) -> None:
    """Every key of every section is there, with a comment: the file is the reference."""
    path = tmp_path / "fdbpl.toml"
    write_preset(path, preset)
    values = tomllib.loads(path.read_text())
    assert set(values) == set(RunConfig.model_fields)
    for name, field in RunConfig.model_fields.items():
        if name not in ("folder", "student"):
            assert field.annotation is not None
            # A list of tables that is empty has a comment.
            commented = {key for key in field.annotation.model_fields if f"# [[{name}.{key}]]: " in path.read_text()}
            assert set(values[name]) | commented == set(field.annotation.model_fields)
    assert all(set(table) == set(StudentConfig.model_fields) for table in values["student"])
    assert all(set(table["optim"]) == set(OptimConfig.model_fields) for table in values["student"])
    keys = [line for line in path.read_text().splitlines() if " = " in line and not line.startswith("#")]
    assert len(keys) > 40
    assert all("  # " in line for line in keys)


def test_base_to_new_has_the_fields_recipe(tmp_path: Path) -> None:
    write_preset(tmp_path / "fdbpl.toml", "base-to-new")
    config = read_config(tmp_path / "fdbpl.toml")
    data = config.data
    assert (data.layout, data.images) == ("caltech101", "101_ObjectCategories")
    assert (data.split, data.template) == ("split_zhou_Caltech101.json", "a photo of a {}.")
    for student in config.student:
        assert (student.shots, student.seeds, student.classes) == ((16,), (1, 2, 3), "base")
        assert (student.epochs, student.batch_size) == (50, 32)


# Epochs, batch size, learning rate, and options by which a learner differs from its defaults or which are its published
# ones: of CoOp, CoCoOp, VPT, MaPLe, PromptSRC, PromptKD.
OWN = {
    "coop": (200, 32, 0.002, {}),
    "cocoop": (10, 1, 0.002, {}),
    "vpt": (5, 4, 0.0025, {"num_tokens": 8, "depth": 12}),
    "maple": (5, 4, 0.0035, {"num_context": 2, "depth": 9}),
    "promptsrc": (20, 4, 0.0025, {"text_depth": 9, "visual_depth": 9, "average_mean": 15.0, "average_sd": 1.0}),
    "promptkd": (20, 8, 0.005, {"num_tokens": 4, "depth": 9}),
}
WIDE = {"text_depth": 3, "visual_depth": 3, "average_mean": 6.0, "average_sd": 10.0}
RANDOM = {"context": "", "num_context": 16}
RECIPES = {
    "methods": ("base", OWN),
    "cross-dataset": (
        "all",
        {
            "coop": (50, 32, 0.002, {}),
            "cocoop": (10, 1, 0.002, {}),
            "vpt": (5, 4, 0.0025, {}),
            "maple": (2, 4, 0.0026, {"depth": 3}),
            "promptsrc": (20, 4, 0.0025, WIDE),
        },
    ),
    "domain-generalisation": (
        "all",
        {
            "coop": (50, 32, 0.002, {}),
            "cocoop": (10, 1, 0.002, {}),
            "vpt": (5, 4, 0.0025, {}),
            "maple": (5, 4, 0.0035, {}),
            "promptsrc": (20, 4, 0.0025, WIDE),
        },
    ),
}


def sgd_of_the_field(optim: OptimConfig) -> bool:
    rest = (optim.optimizer, optim.momentum, optim.weight_decay, optim.warmup_epochs, optim.warmup_learning_rate)
    return rest == ("sgd", 0.9, 5e-4, 1, 1e-5)


@pytest.mark.parametrize("preset", RECIPES)
def test_each_learner_has_its_published_recipe(preset: str) -> None:
    classes, recipes = RECIPES[preset]
    config = parse_config(preset_values(preset), base=Path("/"), where=preset)
    assert (config.teacher.model, config.teacher.pretrained) == ("ViT-H-14-quickgelu", "dfn5b")
    assert {name for table in config.student for name in table.learner} == set(recipes)
    tried: dict[str, set[str]] = {}
    for table in config.student:
        (learner,) = table.learner
        epochs, batch_size, rate, options = recipes[learner]
        assert (table.epochs, table.batch_size, table.optim.learning_rate) == (epochs, batch_size, rate), learner
        assert table.learner_options.get(learner, {}) == options, learner
        assert (table.classes, table.shots, table.seeds) == (classes, (16,), (1, 2, 3))
        assert sgd_of_the_field(table.optim)
        tried.setdefault(learner, set()).update(table.objective)
    own = {"promptkd": {"cross_entropy", "promptkd", "kdpl"}, "vpt": {"cross_entropy", "kdpl"}}
    assert tried == {name: own.get(name, {"cross_entropy", "kdpl", "fdbpl"}) for name in recipes}


def test_few_shot_has_epochs_by_the_number_of_shots() -> None:
    config = parse_config(preset_values("few-shot"), base=Path("/"), where="few-shot")
    assert config.evaluate.protocol == "few-shot"
    expected = [((1,), 50)] * 2 + [((2, 4), 100)] * 2 + [((8, 16), 200)] * 2
    assert [(table.shots, table.epochs) for table in config.student] == expected
    for table in config.student:
        assert (table.learner_options, table.classes, table.batch_size) == ({"coop": RANDOM}, "all", 32)
        assert sgd_of_the_field(table.optim) and table.optim.learning_rate == 0.002
    assert [plan.id for plan in student_plans(config) if plan.seed == 1 and plan.objective == "kdpl"] == [
        "1shots-coop-kdpl-cached-seed1",
        "coop-kdpl-cached-2shots-seed1",
        "coop-kdpl-cached-4shots-seed1",
        "coop-kdpl-cached-8shots-seed1",
        "coop-kdpl-cached-16shots-seed1",
    ]


@pytest.mark.parametrize(("preset", "names"), [("cross-dataset", ELEVEN[1:]), ("domain-generalisation", VARIANTS)])
def test_prompts_are_carried_to_the_fields_data_sets(preset: str, names: tuple[str, ...]) -> None:
    config = parse_config(preset_values(preset), base=Path("/"), where=preset)
    assert (config.data.name, config.evaluate.protocol) == ("imagenet", preset)
    found = [(target.name, target.folder.name, target.images) for target in config.evaluate.targets]
    assert found == [(name, KNOWN[name].folder, KNOWN[name].images) for name in names]


def test_a_written_preset_says_whence_its_recipes_are(tmp_path: Path) -> None:
    write_preset(tmp_path / "fdbpl.toml", "methods")
    lines = (tmp_path / "fdbpl.toml").read_text().splitlines()
    assert lines[3].startswith("# Every learner by its own published recipe, on base and new classes, with ViT-B/16:")
    above = [lines[number - 1] for number, line in enumerate(lines) if line == "[[student]]"]
    assert above[6] == "# MaPLe, arXiv 2210.03117: 2 tokens in each of 9 layers, 5 epochs."
    assert above[7] == "# The same, taught."
    sources = ["2109.01134", "2203.05557", "2203.12119", "2210.03117", "2307.06948", "2403.02781"]
    assert all(any(source in line for line in lines) for source in sources)


def test_an_unknown_preset_lists_the_known() -> None:
    known = "expected base-to-new, cross-dataset, domain-generalisation, few-shot, methods, tiny"
    with pytest.raises(ValueError, match=known):
        preset_values("huge")
