from pathlib import Path

from fdbpl.pipeline.config import ModelConfig
from fdbpl.pipeline.weights import model_key, weights_source


def key(pretrained: str, **changes: str) -> str:
    return model_key(ModelConfig.model_validate({"model": "ViT-B/32", "pretrained": pretrained, **changes}))


def test_a_tag_names_itself() -> None:
    assert weights_source("openai") == "tag openai"
    assert key("openai") == "ViT-B_32.openai"
    assert key("openai", precision="bf16") == "ViT-B_32.openai-bf16"


def test_files_are_told_apart_by_content_not_by_name(tmp_path: Path) -> None:
    """Students pretrained under several seeds are often `seed1/student.pt` and `seed2/student.pt`."""
    for folder, content in (("seed1", b"a"), ("seed2", b"b"), ("copy", b"a")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "student.pt").write_bytes(content)
    one, two, copy = (key(str(tmp_path / folder / "student.pt")) for folder in ("seed1", "seed2", "copy"))
    assert one == copy == "ViT-B_32.student-ca978112"  # sha256 of "a"
    assert two == "ViT-B_32.student-3e23e816"
