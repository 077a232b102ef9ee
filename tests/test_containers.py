"""The container files agree with the repository: what they copy is there, and all that the wheel is made of is copied.

They are read here and not built: that needs Docker or Apptainer, and a network.
"""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()
DEFINITION = (ROOT / "containers" / "apptainer.def").read_text()
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
FILES = pytest.mark.parametrize("text", [DOCKERFILE, DEFINITION], ids=["Dockerfile", "apptainer.def"])


def copied(text: str) -> dict[str, str]:
    """Source -> its place in the image; of both kinds of file."""
    found = {}
    for line in re.findall(r"^COPY (.+)$", text, flags=re.MULTILINE):
        *sources, target = line.split()
        found |= {source: f"{target}{source}" if target.endswith("/") else target for source in sources}
    section = re.search(r"^%files\n((?: +.+\n)+)", text, flags=re.MULTILINE)
    lines = section[1].splitlines() if section else []
    return found | {line.split()[0]: line.split()[1] for line in lines}


@FILES
def test_what_is_copied_is_there_under_its_own_name(text: str) -> None:
    found = copied(text)
    assert all((ROOT / source).exists() for source in found)
    assert found == {source: f"/source/{source}" for source in found}


@FILES
def test_all_that_the_package_is_made_of_is_copied(text: str) -> None:
    folders = {name.split(".")[1] for name in CONFIG["options"]["packages"].split()}
    files = {CONFIG["metadata"]["long_description"].removeprefix("file: "), CONFIG["metadata"]["license_files"]}
    assert set(copied(text)) == folders | files | {"setup.cfg", "pyproject.toml"}


@FILES
def test_its_python_is_allowed_and_no_cache_is_kept(text: str) -> None:
    (version,) = re.findall(r"^F(?:ROM|rom:) ?python:(3\.\d+)-slim$", text, flags=re.MULTILINE)
    (least,) = re.findall(r">=3\.(\d+)", CONFIG["options"]["python_requires"])
    assert int(version.split(".")[1]) >= int(least)
    assert f"Programming Language :: Python :: {version}" in CONFIG["metadata"]["classifiers"]
    assert "pip install --no-cache-dir /source" in text and "rm -rf /var/lib/apt/lists" in text


def test_the_entry_point_is_the_program_as_a_user_of_its_own() -> None:
    assert "fdbpl = fdbpl.pipeline.cli:main" in CONFIG["options.entry_points"]["console_scripts"]
    assert 'ENTRYPOINT ["fdbpl"]' in DOCKERFILE and 'exec fdbpl "$@"' in DEFINITION
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, flags=re.MULTILINE) == ["fdbpl"]
    assert DOCKERFILE.index("pip install") < DOCKERFILE.index("USER fdbpl")


def test_nothing_else_goes_to_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == set(copied(DOCKERFILE))
