"""Site profiles: where they are looked for, what they may say, and what submitit is given of it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import submitit

from fdbpl.slurm.chain import Step
from fdbpl.slurm.preview import preview
from fdbpl.slurm.profile import Profile, find_profile, profile_folders, read_profile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder of profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    folder = tmp_path / "settings" / "fdbpl" / "profiles"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def beside(tmp_path: Path, home: Path) -> Path:
    """The folder of a config, with a folder of profiles in it."""
    (tmp_path / "work" / "profiles").mkdir(parents=True)
    return tmp_path / "work"


def write(folder: Path, text: str, name: str = "site") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_a_profile_is_looked_for_beside_the_config_then_in_its_folder_then_at_home(beside: Path, home: Path) -> None:
    assert profile_folders(beside) == (beside, beside / "profiles", home)
    for folder in reversed(profile_folders(beside)):
        path = write(folder, f'account = "{folder.name}"')
        assert find_profile("site", beside=beside) == path
        assert read_profile("site", beside=beside).account == folder.name
        write(folder, 'account = "other"', name="other")


def test_without_xdg_it_is_looked_for_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile_folders(tmp_path)[-1] == tmp_path / ".config" / "fdbpl" / "profiles"


def test_a_profile_may_be_named_by_its_path(beside: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "max_jobs = 7", name="elsewhere")
    for name in ("../elsewhere.toml", str(path)):
        assert read_profile(name, beside=beside).max_jobs == 7


def test_a_missing_profile_says_where_it_was_looked_for_and_what_there_is(beside: Path, home: Path) -> None:
    write(home, "", name="berlin")
    write(beside / "profiles", "", name="aachen")
    with pytest.raises(ValueError, match="found no profile 'bonn'") as caught:
        read_profile("bonn", beside=beside)
    for folder in profile_folders(beside):
        assert str(folder / "bonn.toml") in str(caught.value)
    assert str(caught.value).endswith("there are: aachen, berlin")


def test_no_name_is_an_empty_profile(beside: Path) -> None:
    assert read_profile("", beside=beside) == Profile()
    assert find_profile("", beside=beside) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partiton = 'a'", "found the unknown key partiton (did you mean 'partition'?), expected account, "),
        ("[retry]\nround = 1", "found the unknown key retry.round (did you mean 'rounds'?), expected exclude_failed"),
        ("[steps.teach]\nqso = 'a'", "found the unknown key steps.teach.qso (did you mean 'qos'?), expected account, "),
        ("[steps.teach]\nmax_jobs = 3", "found the unknown key steps.teach.max_jobs, expected account, "),
        ("max_jobs = 0", "max_jobs: found 0: Input should be greater than 0"),
        ("[retry]\nmemory_factor = 0.5", "retry.memory_factor: found 0.5: Input should be greater than or equal to 1"),
        ("setup = 'module load x'", "setup: found 'module load x': Input should be a valid tuple"),
        ("partition = ", "is not valid TOML: "),
    ],
)
def test_what_a_profile_cannot_have_is_named_with_its_file(beside: Path, text: str, message: str) -> None:
    path = write(beside, text)
    with pytest.raises(ValueError) as caught:
        read_profile("site", beside=beside)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_all_faults_are_told_at_once(beside: Path) -> None:
    with pytest.raises(ValueError) as caught:
        read_profile("", beside=beside, changes={"partiton": "a", "retry": {"rounds": 0}})
    told = str(caught.value).splitlines()
    assert len(told) == 2
    assert all(line.startswith("cluster.slurm: ") for line in told)


def test_what_the_config_sets_wins_and_the_rest_of_each_table_stays(beside: Path) -> None:
    write(beside, "partition = 'a'\nqos = 'q'\n[retry]\nrounds = 5\nrequeues = 1\n[steps.teach]\ngres = 'gpu:1'")
    changes = {"partition": "b", "retry": {"rounds": 2}, "steps": {"teach": {"account": "me"}}}
    profile = read_profile("site", beside=beside, changes=changes)
    assert (profile.partition, profile.qos) == ("b", "q")
    assert (profile.retry.rounds, profile.retry.requeues) == (2, 1)
    assert (profile.site_of("teach").gres, profile.site_of("teach").account) == ("gpu:1", "me")


def test_a_step_changes_only_what_it_sets(beside: Path) -> None:
    profile = Profile.model_validate(
        {
            "partition": "cpu",
            "account": "us",
            "setup": ["module load python"],
            "extra": {"nice": 10, "comment": "ours"},
            "steps": {"teach": {"partition": "gpu", "setup": [], "extra": {"nice": 0}}},
        }
    )
    teach, train = profile.site_of("teach"), profile.site_of("train")
    assert (teach.partition, teach.account, teach.setup) == ("gpu", "us", ())
    assert teach.extra == {"nice": 0, "comment": "ours"}
    assert (train.partition, train.setup, train.extra) == ("cpu", ("module load python",), profile.extra)


def test_parameters_are_those_of_submitit() -> None:
    profile = Profile.model_validate(
        {
            **{name: name for name in ("partition", "account", "qos", "gres", "constraint", "nodelist", "exclude")},
            "setup": ["module load python"],
            "python": ["apptainer", "exec", "my image.sif", "python"],
            "srun_args": ["--container-image=x"],
            "extra": {"cpu-freq": "high", "nice": 10},
        }
    )
    parameters = profile.parameters("teach")
    assert shlex.split(parameters.pop("python")) == ["apptainer", "exec", "my image.sif", "python"]
    assert parameters["setup"] == ["set -e", "module load python"]
    assert parameters["srun_args"] == ["--container-image=x"]
    assert parameters["additional_parameters"] == {"cpu_freq": "high", "nice": 10}
    assert set(parameters) <= submitit.SlurmExecutor._valid_parameters()
    assert Profile().parameters("teach") == {"setup": [], "additional_parameters": {}}
    assert Profile(python="/opt/python 3/bin/python").parameters("teach")["python"] == "/opt/python 3/bin/python"


@pytest.fixture
def slurm_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs in place of Slurm's; srun is there for submitit, which looks for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    program(folder, "srun", "exit 1")
    return folder


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def script(make_chain: Any, profile: dict[str, Any], num_jobs: int) -> Any:
    chain = make_chain({"first": ["a"]}, profile=profile)
    first: Step = chain.step("first")
    return preview(chain, first, num_jobs)


def test_a_script_has_the_setup_first_and_the_options_of_the_profile(make_chain: Any, slurm_tools: Path) -> None:
    program(slurm_tools, "sbatch", "cat > /dev/null; echo 'sbatch: Job 7 to start at noon' >&2")
    profile = {
        "partition": "long",
        "setup": ["module load python", "export A='b c'"],
        "python": ["apptainer", "exec", "my image.sif", "python"],
        "extra": {"cpu-freq": "high"},
    }
    shown = script(make_chain, profile, 3)
    assert (shown.is_accepted, shown.answer) == (True, "sbatch: Job 7 to start at noon")
    lines = shown.script.splitlines()
    assert {"#SBATCH --partition=long", "#SBATCH --cpu-freq=high", "#SBATCH --array=0-2%3"} <= set(lines)
    begin = lines.index("set -e")
    assert lines[begin + 1 : begin + 3] == profile["setup"]
    assert not [line for line in lines[:begin] if line and not line.startswith("#")]
    run = next(line for line in lines if "submitit.core._submit" in line)
    assert "apptainer exec 'my image.sif' python -u -m submitit.core._submit" in run


def test_what_slurm_refuses_is_told(make_chain: Any, slurm_tools: Path, tmp_path: Path) -> None:
    program(slurm_tools, "sbatch", "cat > /dev/null; echo 'sbatch: error: invalid partition' >&2; exit 1")
    shown = script(make_chain, {}, 1)
    assert (shown.is_accepted, shown.answer) == (False, "sbatch: error: invalid partition")
    assert "--array" not in shown.script
    assert not (tmp_path / "run" / "records").exists(), "a preview writes nothing"


def test_an_sbatch_that_does_not_answer_is_given_up(make_chain: Any, slurm_tools: Path) -> None:
    program(slurm_tools, "sbatch", "exec sleep 20")
    chain = make_chain({"first": ["a"]})
    shown = preview(chain, chain.step("first"), 1, timeout_seconds=0.2)
    assert not shown.is_accepted
    assert "timed out" in shown.answer


def test_without_slurm_a_preview_says_so(make_chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    shown = script(make_chain, {}, 1)
    assert shown.script == ""
    assert "srun" in shown.answer
