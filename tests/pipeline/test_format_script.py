"""The ten lines of FORMAT.md that read a store with zarr-python alone."""

import re
import subprocess
import sys
from pathlib import Path

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig

FORMAT = Path(__file__).parents[2] / "cache_layout" / "FORMAT.md"


def test_ten_lines_read_the_store(taught: RunConfig, tmp_path: Path) -> None:
    script = re.findall(r"```python\n(.*?)```", FORMAT.read_text(), re.DOTALL)[0]
    assert len([line for line in script.splitlines() if line]) <= 10
    assert "fdbpl." not in script and "import fdbpl" not in script
    (tmp_path / "store.zarr").symlink_to(taught.store.path)
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    first, *lines = result.stdout.splitlines()
    with open_reader(taught.store.path) as reader:
        fingerprint, seal = first.split()
        assert fingerprint == reader.manifest.fingerprint and seal.startswith("sha256:")
        names = reader.class_list("all").class_names
        boxes, logits = reader.read_plane("crop/box", 0), reader.read_plane("teacher/logits", 0)
        assert lines == [
            f"{path} {box.tolist()} {names[row.argmax()]}"
            for path, box, row in zip(reader.images.paths, boxes, logits, strict=True)
        ]
