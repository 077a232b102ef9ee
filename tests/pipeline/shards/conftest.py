"""Tars made by the standard library, which the code under test reads."""

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

MakeTar = Callable[..., Path]


@pytest.fixture
def make_tar() -> MakeTar:
    """Writes members, in order, as a tar."""

    def make(path: Path, members: Mapping[str, bytes], *, kind: int = tarfile.PAX_FORMAT, mode: str = "w") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, mode, format=kind) as tar:  # type: ignore[call-overload]  # the mode is a test's choice
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def picture() -> Callable[[int], bytes]:
    """The bytes of a small JPEG, another one for each number."""

    def picture(number: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (20 + number, 30), (7 * number % 256, 50, 100)).save(file, "JPEG")
        return file.getvalue()

    return picture
