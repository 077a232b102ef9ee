"""Wrong inputs, over every command: each is told in one message, with what was found and what to do, and nothing is
printed or written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# What is typed, and a part of what is answered.
CASES = [
    # flags and arguments
    ("nonsense", "No such command 'nonsense'"),
    ("tech run.toml", "No such command 'tech'. Did you mean 'teach'"),
    ("plan run.toml --sett a=b", "No such option: --sett (Possible options: --set). See `fdbpl plan --help`."),
    ("plan run.toml more.toml", "Got unexpected extra argument"),
    ("plan run.toml --set crops.seeds", "expected key=value such as crops.seeds=8"),
    ("logs run.toml --tail 0", "Invalid value for '--tail': Input should be greater than or equal to 1"),
    ("cache info", "Missing argument 'store'. See `fdbpl cache info --help`."),
    ("protocol base-to-new", "Missing argument 'config'. See `fdbpl protocol --help`."),
    ("plan run.toml --rate teach", "expected STEP=NUMBER such as teach=800"),
    ("bench train --size 12", "found the size '12', expected WIDTHxHEIGHT such as 500x375"),
    ("bench train --learner lora", "lora"),
    ("bench kernels --batch x", "--batch"),
    # config files
    ("teach none.toml", "found no config file at none.toml, expected one: `fdbpl init none.toml` writes it"),
    ("teach", "found no config file at fdbpl.toml, expected one: `fdbpl init fdbpl.toml` writes it"),
    ("train broken.toml", "broken.toml is not valid TOML"),
    ("plan binary.toml", "binary.toml is no text in UTF-8"),
    ("plan folder.toml", "found a folder at folder.toml, expected a config file"),
    ("init run.toml", "found run.toml already, expected no file there"),
    ("init no/where.toml", "found no folder no"),
    ("init new.toml --preset huge", "found the unknown key 'huge'"),
    ("init new.toml --data none", "--data: found no folder none"),
    ("init new.toml --data empty", "found no folder in empty, expected one for each class"),
    ("init new.toml --data single", "found a single image of a, b in single, expected at least 2 of each class"),
    ("init new.toml --data one", "found 1 class in one, expected two at least"),
    ("init new.toml --data pairs --preset cross-dataset", "expected base-to-new, few-shot, methods or tiny"),
    # values of the config
    ("plan run.toml --set sedes=3", "top level: found the unknown key 'sedes'"),
    ("plan run.toml --set crops.sedes=3", "crops: found the unknown key 'sedes' (did you mean 'seeds'?)"),
    ("plan run.toml --set crops.seeds=0", "crops.seeds: found 0: Input should be greater than 0"),
    ("plan run.toml --set crops.seeds=many", "crops.seeds: found 'many'"),
    ("plan run.toml --set crops.scale=[2,3]", "crops: "),
    ("plan run.toml --set store.labels=[]", "store.labels: found []"),
    ('plan run.toml --set store.labels=["logits","logits"]', "an encoding is there twice"),
    ("plan run.toml --set teacher.precision=fp8", "teacher.precision: found 'fp8'"),
    ("plan run.toml --set teacher.model=ViT-B-31", "ViT-B-31"),
    ("plan run.toml --set teacher.pretrained=none.pt", "expected an existing checkpoint"),
    ("plan run.toml --set data.folder=none", "none"),
    ("plan run.toml --set data.split=none.json", "none.json"),
    ("plan run.toml --set data.layout=caltech", "unknown layout"),
    ("plan run.toml --set student.0.learner=cop", "found learner = 'cop', expected one of"),
    ("plan run.toml --set student.0.objective=kdlp", "found objective = 'kdlp', expected one of"),
    ("plan run.toml --set student.0.supervision=soft", "student.0.supervision.0: found 'soft'"),
    ("plan run.toml --set student.0.seeds=-1", "found -1"),
    ("plan run.toml --set student.0.shots=9", "class 0 has 4"),
    ("plan run.toml --set student.0.starts_from=zero", "zero"),
    ("plan run.toml --set student.0.prompts=none.safetensors", "none.safetensors"),
    ("plan run.toml --set student.0.learner_options.coop.contxt=x", "did you mean 'context'?"),
    ("plan run.toml --set student.0.optim.momentum=1", "student.0.optim.momentum: found 1"),
    ("plan run.toml --set student.7.shots=1", "the config has no such place: student.7.shots"),
    ("plan run.toml --set evaluate.protocol=few", "evaluate.protocol: found 'few'"),
    ("plan run.toml --set loading.decoder=opencv", "loading.decoder: found 'opencv'"),
    ("plan run.toml --set loading.device=tpu", "tpu"),
    ("plan run.toml --cluster moon", "cluster.kind: found 'moon'"),
    ("plan run.toml --profile nowhere", "found no profile 'nowhere'"),
    # files of runs and stores
    ("status run.toml", "found nothing submitted in"),
    ("retry empty", "found nothing submitted in"),
    ("runs none", "found no folder none"),
    ("cache info none.zarr", "found no store at {here}/none.zarr"),
    ("cache info empty", "found no store at {here}/empty"),
    ("cache verify none.zarr", "found no store at {here}/none.zarr"),
    ("cache export none.zarr a.tar", "found no store at {here}/none.zarr"),
    ("cache import none.tar new.zarr", "none.tar"),
    ("cache diff none.zarr empty", "found no store at {here}/none.zarr"),
    ("export none.safetensors --out a.npy", "found no file none.safetensors, expected prompts"),
    ("export run.toml --out a.npy", "found run.toml, which is no safetensors file"),
    ("predict a.jpg --prompts none.safetensors", "none.safetensors"),
    ("import-prompts none.pth --out a --model ViT-B-32 --pretrained openai --classes run.toml", "none.pth"),
    ("data check non empty", "data set: found the unknown key 'non', expected all, caltech101,"),
    ("data shards none.toml out", "none.toml"),
    ("cache copy-to none.zarr out", "found no store at {here}/none.zarr"),
    ("world make run.toml", "run.toml"),
    ("protocol base-to-old run.toml", "base-to-old"),
    ("protocol base-to-new run.toml --root none", "none"),
    ("reproduce mini --study nothing", "nothing"),
    ("demo --folder run.toml", "run.toml"),
]


@pytest.fixture
def inputs(write_config: Callable[..., Path], tmp_path: Path) -> None:
    """Files and folders for wrong inputs to name."""
    write_config()
    (tmp_path / "broken.toml").write_text("folder = \n")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for folder in ("folder.toml", "empty", "single/a", "single/b", "one/a", "pairs/a", "pairs/b"):
        (tmp_path / folder).mkdir(parents=True)
    for image in ("single/a/1", "single/b/1", "one/a/1", "one/a/2", "pairs/a/1", "pairs/a/2", "pairs/b/1", "pairs/b/2"):
        (tmp_path / f"{image}.jpg").write_bytes(b"")


def test_there_are_fifty() -> None:
    assert len(dict(CASES)) == len(CASES) >= 50


@pytest.mark.parametrize(("typed", "told"), CASES, ids=[typed for typed, _ in CASES])
@pytest.mark.usefixtures("inputs")
def test_it_is_told_in_one_message(call: Any, tmp_path: Path, typed: str, told: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = call(*typed.split())
    assert answer.returncode == 2, (answer.stdout, answer.stderr)
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ") and answer.stderr.count("error: ") == 1
    assert told.format(here=tmp_path) in answer.stderr
    assert "Traceback" not in answer.stderr and "pydantic" not in answer.stderr
    assert sorted(tmp_path.rglob("*")) == before
    with_json = call(*typed.split(), "--json")
    assert with_json.returncode == 2
    assert json.loads(with_json.stdout) == {"error": answer.stderr.removeprefix("error: ").rstrip(), "exit_code": 2}
