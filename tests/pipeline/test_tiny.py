"""The shipped tiny CLIPs: packed small, unpacked ordinary, and as able as their note says."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from fdbpl.pipeline.clip.tiny import (
    TINY_MODELS,
    WEIGHTS_FOLDER,
    pack_checkpoint,
    packed_state,
    register_tiny_models,
    unpack_tiny_checkpoints,
    unpacked_state,
)
from fdbpl.pipeline.clip.world_accuracy import measure_clip


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return unpack_tiny_checkpoints(tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="module")
def accuracy(unpacked: dict[str, Path]) -> dict[str, Any]:
    return {role: measure_clip(TINY_MODELS[role], path, images_per_pair=12, seed=77) for role, path in unpacked.items()}


def _negatives(accuracy: dict[str, Any], role: str, half: str, template: str) -> float:
    return float(accuracy[role]["zero_shot"]["negative"][half][template])


def test_what_ships_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in WEIGHTS_FOLDER.glob("*.safetensors")}
    assert sizes.keys() == {"teacher.safetensors", "student.safetensors"}
    assert sum(sizes.values()) <= 6_000_000
    assert (WEIGHTS_FOLDER / "README.md").is_file()


def test_registering_twice_is_registering_once() -> None:
    register_tiny_models()
    register_tiny_models()
    assert set(TINY_MODELS.values()) <= set(open_clip.list_models())


@pytest.mark.parametrize(("role", "num_parameters"), [("teacher", 1_433_561), ("student", 447_837)])
def test_the_checkpoints_load_as_any_local_one(unpacked: dict[str, Path], role: str, num_parameters: int) -> None:
    register_tiny_models()
    model = open_clip.create_model(TINY_MODELS[role], pretrained=str(unpacked[role])).eval()
    table = model.token_embedding.weight
    assert sum(p.numel() for p in model.parameters()) - table.numel() == num_parameters
    assert int((table.abs().amax(dim=1) > 0).sum()) == 38
    ids = open_clip.get_tokenizer(TINY_MODELS[role])(["a photo of no red circle."])
    assert int((table[ids].abs().amax(dim=2) == 0).sum()) == 0 or int(ids[0, -1]) == 0


def test_unpacking_again_changes_nothing_and_mends_a_damaged_file(tmp_path: Path) -> None:
    paths = unpack_tiny_checkpoints(tmp_path)
    assert {role: path.name for role, path in paths.items()} == {
        "teacher": "teacher.safetensors",
        "student": "student.safetensors",
    }
    before = {role: (path.read_bytes(), path.stat().st_mtime_ns) for role, path in paths.items()}
    damaged = bytearray(before["student"][0])
    damaged[-1] ^= 1
    paths["student"].write_bytes(damaged)
    unpack_tiny_checkpoints(tmp_path)
    assert paths["student"].read_bytes() == before["student"][0]
    assert paths["teacher"].stat().st_mtime_ns == before["teacher"][1]
    assert len(list(tmp_path.iterdir())) == 2


def test_packing_keeps_vectors_exactly_and_matrices_as_float16(tmp_path: Path) -> None:
    table = torch.zeros(10, 2)
    table[[3, 9]] = torch.tensor([[1.0, -2.0], [0.5, 0.25]])
    state = {
        "token_embedding.weight": table,
        "norm.weight": torch.tensor([1.00001, 2.0]),
        "conv.weight": torch.full((1, 1, 1, 1), 1.00001),
        "bn.num_batches_tracked": torch.tensor(7),
    }
    packed = packed_state(state)
    assert packed["token_embedding.ids"].tolist() == [3, 9]
    assert packed["token_embedding.rows"].dtype == torch.float16
    back = unpacked_state(packed)
    assert torch.equal(back["token_embedding.weight"], table)
    assert torch.equal(back["norm.weight"], state["norm.weight"])
    assert back["conv.weight"].item() == 1.0
    assert back["bn.num_batches_tracked"].item() == 7
    assert back.keys() == state.keys()
    save_file(state, tmp_path / "full.safetensors")
    pack_checkpoint(tmp_path / "full.safetensors", tmp_path / "packed.safetensors")
    assert load_file(tmp_path / "packed.safetensors").keys() == packed.keys()


def test_the_teacher_reads_whole_negatives(accuracy: dict[str, Any]) -> None:
    for half in ("all", "base", "new"):
        assert _negatives(accuracy, "teacher", half, "a negative of a {}") > 97


def test_the_teacher_reads_most_crops(accuracy: dict[str, Any]) -> None:
    assert accuracy["teacher"]["crops"]["base"] > 85
    assert accuracy["teacher"]["crops"]["new"] > 85


def test_the_teacher_is_far_above_the_student(accuracy: dict[str, Any]) -> None:
    for half in ("base", "new"):
        template = "a negative of a {}"
        ahead = _negatives(accuracy, "teacher", half, template) - _negatives(accuracy, "student", half, template)
        assert ahead > 15


def test_a_photo_s_prompt_is_a_bad_start_for_the_student_s_negatives(accuracy: dict[str, Any]) -> None:
    for half in ("base", "new"):
        assert 60 < _negatives(accuracy, "student", half, "a negative of a {}") < 90
        assert _negatives(accuracy, "student", half, "a photo of a {}") < 30
