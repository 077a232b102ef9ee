import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.local_driver import local_driver, local_driver_lives, local_driver_pid

# Between the look and the entry, there is time for another to look.
SLOW_DRIVER = """
import sys, time
from pathlib import Path
from fdbpl.slurm import local_driver as module

look = module.local_driver_lives

def look_slowly(folder):
    found = look(folder)
    time.sleep(0.5)
    return found

module.local_driver_lives = look_slowly
with module.local_driver(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def entry(folder: Path) -> Path:
    return folder / "records/driver.json"


def test_others_see_the_process_while_it_is_at_work(tmp_path: Path) -> None:
    assert not local_driver_lives(tmp_path)
    with local_driver(tmp_path):
        assert local_driver_lives(tmp_path)
        assert local_driver_pid(tmp_path) == os.getpid()
        with pytest.raises(ValueError, match=rf"found process {os.getpid()} on"), local_driver(tmp_path):
            pass
        assert local_driver_pid(tmp_path) == os.getpid()
    assert not entry(tmp_path).exists()


def test_of_two_that_come_together_one_is_refused(tmp_path: Path, cluster_module: Any) -> None:
    command = [sys.executable, "-c", SLOW_DRIVER, tmp_path]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    both = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    try:
        # The one that is let in waits for its input.
        cluster_module.wait_until(lambda: any(one.poll() is not None for one in both), "one has ended", 20)
    finally:
        ends = [process.communicate(timeout=20) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert sorted(out for out, _ in ends) == ["", "in\n"]
    assert "expected nobody" in "".join(err for _, err in ends)


@pytest.mark.parametrize(("changes", "lives"), [({}, True), ({"ticks": "1"}, False), ({"pid": 2**22 + 1}, False)])
def test_a_process_is_known_by_its_start(tmp_path: Path, changes: dict[str, Any], lives: bool) -> None:
    with local_driver(tmp_path):
        found = read_json(entry(tmp_path))
        assert found is not None
        write_json(entry(tmp_path), {**found, **changes})
        assert local_driver_lives(tmp_path) == lives
        write_json(entry(tmp_path), found)


def test_a_process_on_another_machine_is_believed_to_live(tmp_path: Path) -> None:
    entry(tmp_path).parent.mkdir()
    write_json(entry(tmp_path), {"host": f"not-{socket.gethostname()}", "pid": 7, "ticks": "1"})
    assert local_driver_lives(tmp_path)
    assert local_driver_pid(tmp_path) is None
    with (
        pytest.raises(ValueError, match=r"found process 7 on not-.* delete .*records/driver\.json"),
        local_driver(tmp_path),
    ):
        pass


def test_the_entry_of_a_later_process_stays(tmp_path: Path) -> None:
    with local_driver(tmp_path):
        write_json(entry(tmp_path), {"host": "elsewhere", "pid": 7, "ticks": "1"})
    assert entry(tmp_path).exists()
