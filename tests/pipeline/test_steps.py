"""The steps of a run as a chain: order, what each asks for, and what the site profile says of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.run.state import CONFIG_VARIABLE, GROW_VARIABLE
from fdbpl.pipeline.run.steps import chain_of, resources, run_chain, site_profile, train_steps
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.slurm.chain import Chain, resolve
from fdbpl.slurm.resources import Resources

MakeConfig = Callable[..., RunConfig]


def cluster(**changes: Any) -> dict[str, Any]:
    return {"kind": "local", "max_workers": 2, **changes}


def needs(chain: Chain) -> dict[str, tuple[str, ...]]:
    return {step.name: step.after for step in chain.steps}


@pytest.fixture
def two_stages(student_table: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    return [student_table(name="a"), student_table(name="b", starts_from="a")]


def test_the_steps_of_a_run_and_what_each_needs(make_config: MakeConfig, two_stages: Any) -> None:
    chain = run_chain(make_config(student=two_stages))
    assert needs(chain) == {
        "prepare": (),
        "teach": ("prepare",),
        "features": ("teach",),
        "test-features": (),
        "train-1": ("teach", "features"),
        "train-2": ("train-1",),
        "report": ("test-features", "train-1", "train-2"),
    }
    needed = {step.name: step.needs_all for step in chain.steps}
    assert needed == {name: not name.startswith("train-") for name in needed}, "the report is of what is finished"
    for step in chain.steps:
        assert callable(resolve(step.function)), step.function
        assert callable(resolve(step.todo)), step.todo
        assert not step.finish or callable(resolve(step.finish)), step.finish
    assert chain.step("teach").finish.endswith(":finish_teach_for_features")
    assert {"ValueError", "CacheError", "FloatingPointError"} == set(chain.fatal)


def test_without_stored_features_there_is_no_step_for_them(make_config: MakeConfig, student_table: Any) -> None:
    chain = run_chain(make_config(student=[student_table(features="live")]))
    assert list(needs(chain)) == ["prepare", "teach", "test-features", "train-1", "report"]
    assert needs(chain)["train-1"] == ("teach",)
    assert chain.step("teach").finish.endswith(":finish_teach")
    assert chain.step("teach").todo.endswith(":teach")


def test_without_students_a_run_is_the_teacher_and_a_report(make_config: MakeConfig) -> None:
    chain = run_chain(make_config(student=[]))
    assert list(needs(chain)) == ["prepare", "teach", "test-features", "report"]


def test_some_steps_wait_for_those_of_them_that_they_need(make_config: MakeConfig, two_stages: Any) -> None:
    config = make_config(student=two_stages)
    assert train_steps(config) == ["train-1", "train-2"]
    assert needs(chain_of(config, ["train-1", "train-2"])) == {"train-1": (), "train-2": ("train-1",)}


def test_a_chain_names_the_saved_config_and_whether_the_store_grows(make_config: MakeConfig) -> None:
    config = make_config()
    saved = RunFolder(config.folder).config_file(config)
    assert run_chain(config).environment == {CONFIG_VARIABLE: str(saved)}
    assert run_chain(config, grow=True).environment == {CONFIG_VARIABLE: str(saved), GROW_VARIABLE: "1"}
    assert not config.folder.exists(), "a chain by itself writes nothing"


def test_what_a_task_asks_for(make_config: MakeConfig) -> None:
    own = {
        "teach": {"gpus": 2, "minutes": 7.5, "max_workers": 9},
        "train": {"cpus": 3, "per_job": 4},
        "report": {"gpus": 1},
        "check": {"memory_gb": 0.5},
    }
    config = make_config(cluster=cluster(cpus=2, gpus=1, memory_gb=6, minutes=30, steps=own))
    base = {"cpus": 2, "gpus": 1, "memory_gb": 6, "minutes": 30, "max_parallel": 2}
    assert resources(config, "teach") == Resources(**{**base, "gpus": 2, "minutes": 7.5, "max_parallel": 9})
    assert resources(config, "train") == Resources(**{**base, "cpus": 3})
    assert resources(config, "features") == resources(config, "test-features") == Resources(**base)
    assert resources(config, "prepare") == Resources(**{**base, "gpus": 0}), "small work takes no GPU of its own accord"
    assert resources(config, "report") == Resources(**base), "but may be told to"
    assert resources(config, "check") == Resources(**{**base, "cpus": 1, "gpus": 0, "memory_gb": 0.5})
    chain = run_chain(config)
    assert chain.step("train-1").resources == resources(config, "train")
    assert chain.check_resources == resources(config, "check")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": {"teech": {}}}, "cluster.steps.teech: found 'teech': Input should be 'prepare', 'teach'"),
        (
            {"steps": {"teach": {"gpu": 1}}},
            "cluster.steps.teach: found the unknown key 'gpu' (did you mean 'gpus'?), expected cpus, ",
        ),
        ({"steps": {"teach": {"gpus": -1}}}, "cluster.steps.teach.gpus: found -1"),
        ({"steps": {"teach": {"per_job": -1}}}, "cluster.steps.teach.per_job: found -1"),
        ({"max_workers": 0}, "cluster.max_workers: found 0"),
        ({"minutes": 0}, "cluster.minutes: found 0"),
    ],
)
def test_wrong_figures_are_named(make_config: MakeConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_config(cluster=cluster(**changes))
    assert message in str(caught.value)


def test_tasks_of_a_job_as_the_config_says(make_config: MakeConfig) -> None:
    chain = run_chain(
        make_config(cluster=cluster(per_job=3, steps={"teach": {"per_job": 5}, "report": {"per_job": 0}}))
    )
    assert {step.name: step.per_job for step in chain.steps} == {
        "prepare": 3,
        "teach": 5,
        "features": 3,
        "test-features": 3,
        "train-1": 3,
        "report": 1,
    }


def test_what_a_profile_says_of_train_holds_for_every_step_that_trains(
    make_config: MakeConfig, two_stages: Any
) -> None:
    slurm = {"partition": "cpu", "steps": {"train": {"partition": "gpu"}, "train-2": {"partition": "big"}}}
    chain = run_chain(make_config(student=two_stages, cluster=cluster(slurm=slurm)))
    assert {step.name: chain.profile.site_of(step.name).partition for step in chain.steps} == {
        "prepare": "cpu",
        "teach": "cpu",
        "features": "cpu",
        "test-features": "cpu",
        "train-1": "gpu",
        "train-2": "big",
        "report": "cpu",
    }


@pytest.mark.parametrize("name", ["teech", "train-0", "training"])
def test_a_profile_for_a_step_that_no_run_has_is_refused(make_config: MakeConfig, name: str) -> None:
    config = make_config(cluster=cluster(slurm={"steps": {name: {}}}))
    with pytest.raises(ValueError, match=rf"site profile: found steps\.{name}.*, expected prepare, teach"):
        run_chain(config)
    hinted = make_config(cluster=cluster(slurm={"steps": {"teech": {}, "check": {}}}))
    with pytest.raises(ValueError, match="did you mean 'teach'"):
        site_profile(hinted, [])


def test_the_profile_is_found_beside_the_config_and_the_config_wins(write_config: Any, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "site.toml").write_text("partition = 'a'\naccount = 'us'\n[steps.check]\nqos = 'quick'\n")
    path = write_config(cluster=cluster(profile="site", slurm={"partition": "b"}))
    config = read_config(path)
    assert config.cluster.profile == str(tmp_path / "profiles" / "site.toml"), "as tasks elsewhere find it, too"
    profile = run_chain(config).profile
    assert (profile.partition, profile.account, profile.site_of("check").qos) == ("b", "us", "quick")
    with pytest.raises(ValueError, match=r"found no profile 'bonn', expected one of .*there are: site") as caught:
        read_config(path, ("cluster.profile=bonn",))
    assert str(tmp_path / "profiles" / "bonn.toml") in str(caught.value), "beside the config, not in the run folder"
