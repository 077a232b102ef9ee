import tomllib
from pathlib import Path

import pytest

from fdbpl.pipeline.config import OptimConfig, RunConfig, StudentConfig
from fdbpl.pipeline.config_file import parse_config, read_config
from fdbpl.pipeline.presets.preset import PRESETS, preset_values, write_preset
from fdbpl.pipeline.students import student_plans


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


def test_the_fields_protocol_has_the_fields_recipe(tmp_path: Path) -> None:
    write_preset(tmp_path / "fdbpl.toml", "base-to-new")
    config = read_config(tmp_path / "fdbpl.toml")
    data = config.data
    assert (data.layout, data.images) == ("caltech101", "101_ObjectCategories")
    assert (data.split, data.template) == ("split_zhou_Caltech101.json", "a photo of a {}.")
    assert (config.teacher.model, config.teacher.pretrained) == ("ViT-H-14-quickgelu", "dfn5b")
    for student in config.student:
        assert (student.shots, student.seeds, student.classes) == ((16,), (1, 2, 3), "base")
        assert (student.epochs, student.batch_size) == (50, 32)
        optim = student.optim
        assert (optim.optimizer, optim.learning_rate, optim.momentum) == ("sgd", 0.002, 0.9)
        assert (optim.weight_decay, optim.warmup_epochs, optim.warmup_learning_rate) == (5e-4, 1, 1e-5)


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ValueError, match="expected base-to-new, tiny"):
        preset_values("huge")
