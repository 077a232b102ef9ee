"""docs/reference/json.md names exactly the keys that commands print with --json: they are run, in small."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_help import leaves, whole

from fdbpl.pipeline.clip.tiny import register_tiny_models
from fdbpl.pipeline.datasets.world import WorldSpec, make_world

DOCS = Path(__file__).parents[2] / "docs"
Answer = Callable[..., set[str]]

# Commands as the page names them, and what is typed, one after another in one folder.
TYPED = [
    ("doctor", "doctor"),
    ("init", "init other.toml"),
    ("plan", "plan run.toml"),
    ("submit --watch", "submit run.toml --watch"),
    ("submit", "submit run.toml"),
    ("retry --watch", "retry run.toml --watch"),
    ("retry", "retry run.toml"),
    ("status", "status run.toml"),
    ("cancel", "cancel run.toml"),
    ("logs", "logs run.toml"),
    ("logs --task", "logs run.toml --task report"),
    ("logs --failed", "logs run.toml --failed"),
    ("runs", "runs"),
    ("show-script", "show-script run.toml --step teach"),
    ("teach", "teach run.toml"),
    ("features", "features run.toml"),
    ("train", "train run.toml"),
    ("evaluate", "evaluate run.toml"),
    ("report", "report run.toml"),
    ("export", "export PROMPTS --out c.npy"),
    ("predict", "predict no.jpg --prompts PROMPTS"),
    ("protocol --dry-run", "protocol base-to-new run.toml --root . --dry-run"),
    ("cache info", "cache info run/store.zarr"),
    ("cache verify", "cache verify run/store.zarr"),
    ("cache repair", "cache repair run/store.zarr"),
    ("cache seal", "cache seal run/store.zarr"),
    ("cache copy-to --dry-run", "cache copy-to run/store.zarr copies --dry-run"),
    ("cache copy-to", "cache copy-to run/store.zarr copies"),
    ("cache copy-to --remove", "cache copy-to --remove COPY"),
    ("cache diff", "cache diff run/store.zarr run/store.zarr"),
    ("cache export --dry-run", "cache export run/store.zarr out.zarr --dry-run"),
    ("cache export", "cache export run/store.zarr out.zarr"),
    ("cache import --dry-run", "cache import out.zarr back.zarr --dry-run"),
    ("cache import", "cache import out.zarr back.zarr"),
    ("data check", "data check run.toml"),
    ("data known", "data known"),
    ("data shards", "data shards small shards"),
    ("data index", "data index shards/*.tar"),
    ("data list", "data list . --train shards/train*.tar --classes names.txt"),
    ("inspect store", "inspect store run.toml"),
    ("inspect crops", "inspect crops run.toml --limit 1"),
    ("inspect image", "inspect image run.toml"),
    ("inspect student", "inspect student run.toml coop-kdpl-cached-seed1 --limit 1"),
    ("bench kernels", "bench kernels --kernels kdpl --batch 4 --classes 8 --rounds 1"),
    ("bench cache --dry-run", "bench cache --dry-run --images 64 --seeds 2"),
    (
        "bench cache",
        "bench cache --images 64 --seeds 2 --processes 1 --states warm --readers fdbpl,numpy --seconds 0.02",
    ),
    ("bench decode", "bench decode --images 1 --seconds 0.02 --backends pillow --crops 1 --sizes 64x48 --workers 1"),
    ("reproduce mini --dry-run", "reproduce mini --tiny --dry-run --cluster local"),
    (
        "import-prompts",
        "import-prompts t.pth --out p.safetensors --model fdbpl-tiny-student --pretrained WEIGHTS --classes names.txt",
    ),
    (
        "bench evaluate",
        "bench evaluate --model fdbpl-tiny-student --classes 4 --images 4 --size 80x60 --seconds 0 --rounds 1",
    ),
]
# Not run here, but what they have printed is kept beside the docs; keys that --out does not keep, by hand.
KEPT: dict[str, tuple[str, set[str]]] = {
    "bench train": ("benchmarks/train/results.json", set()),
    "bench growth": ("benchmarks/growth/results.json", set()),
    "reproduce mini": (
        "reproduction/quick/results.json",
        {"folder", "report", "computed", "task_seconds", "seconds"},
    ),
}
# Not run here: they draw a world or train models, need a GPU or another kind of student, or last longer; their own
# tests run them.
NOT_RUN = {
    "demo",
    "inspect prompts",
    "world make",
    "world train",
    "protocol",
    "reproduce mini --submit",
    "bench agreement",
    "bench gpu",
    "bench teacher",
    "bench start",
}


def page() -> dict[str, set[str]]:
    """What the page says: the keys of each command, as its headings name them."""
    found: dict[str, set[str]] = {}
    for section in re.split(r"^### ", (DOCS / "reference" / "json.md").read_text(), flags=re.MULTILINE)[1:]:
        names = re.findall(r"`fdbpl ([^`]+)`", section.splitlines()[0])
        keys = set(re.findall(r"^\| `(\w+)` \| .+ \|$", section, flags=re.MULTILINE))
        for also in re.findall(r"^The keys of `fdbpl ([^`]+)`", section, flags=re.MULTILINE):
            keys |= found.get(also, set())
        assert keys and not found.keys() & names
        found.update(dict.fromkeys(names, keys))
    return found


@pytest.fixture
def answer(write_config: Any, call: Any, run: Any, shared: Path, tmp_path: Path) -> Iterator[Answer]:
    """Runs a command with --json in a folder with all that the commands want; the keys that it prints."""
    write_config()
    small = make_world(tmp_path / "small", spec=WorldSpec(train_per_class=1, val_per_class=0, test_per_class=1), seed=1)
    assert small.split_file.exists()
    (tmp_path / "names.txt").write_text("\n".join(f"class {number}" for number in range(32)))
    torch.save({"state_dict": {"ctx": torch.randn(4, 64)}}, tmp_path / "t.pth")
    register_tiny_models()
    prompts = "run/students/coop-kdpl-cached-seed1/prompts.safetensors"
    weights = str(shared / "models" / "student.safetensors")

    def answer(typed: str) -> set[str]:
        copies = list((tmp_path / "copies").glob("store.zarr-*"))
        here = {"COPY": str(copies[0]) if copies else "", "WEIGHTS": weights, "PROMPTS": prompts}
        words = [here.get(word, word) for word in shlex.split(typed)]
        # What leaves a process at work does so in a process of its own.
        done = (run if words[0] in ("submit", "retry") else call)(*words, "--json")
        assert done.returncode in (0, 1, 3), done.stderr
        found = json.loads(done.stdout)
        assert "exit_code" not in found or "standing" in found, found
        return set(found)

    yield answer
    call("cancel", "run.toml")


@pytest.mark.slow
def test_the_page_names_the_keys_that_commands_print(answer: Answer) -> None:
    """In the order of TYPED: what one leaves is what the next wants."""
    said = page()
    wrong = {
        name: (sorted(said[name]), sorted(found)) for name, typed in TYPED if (found := answer(typed)) != said[name]
    }
    assert not wrong


def test_what_is_kept_beside_the_docs_has_the_keys_of_the_page() -> None:
    for name, (file, more) in KEPT.items():
        assert set(json.loads((DOCS / file).read_text())) | more == page()[name], name


def test_every_command_is_on_the_page_and_told_apart() -> None:
    said = page()
    assert {name.partition(" --")[0] for name in said} == set(dict(leaves(whole())))
    assert set(said) == {name for name, _ in TYPED} | set(KEPT) | NOT_RUN
