"""A throw-away Slurm cluster in one folder, for tests: a controller and a few nodes, all on this machine.

Needs neither root nor systemd, munge, cgroups or a resolvable host name; starts in about 0.2 s. Everything
listens on 127.0.0.1 only, since without authentication whoever reaches the ports may run commands. `stop`
ends the daemons that it started and all that their jobs have left.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

DAEMONS = ("slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# Tells a node's daemons from those of the others.
NODE_VARIABLE = "TEST_CLUSTER_NODE"
HOW_TO_INSTALL = "on Debian: apt-get install slurm-wlm"
# Debian keeps daemons where the PATH of a plain user does not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"])


def missing_programs(names: Sequence[str] = (*DAEMONS, *CLIENTS)) -> list[str]:
    return [name for name in names if shutil.which(name, path=SEARCH_PATH) is None]


def require_slurm(missing: list[str], environment: Mapping[str, str], how_to_install: str = HOW_TO_INSTALL) -> None:
    """Skip the test where Slurm is not installed; in CI fail, since there nothing may be left out."""
    if not missing:
        return
    reason = f"Slurm is not installed ({', '.join(missing)} not found); {how_to_install}"
    if environment.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def as_user(user: int) -> list[str]:
    """What root puts before a command to run it as another user, who may read what root may (Python may lie there)."""
    for capability in ("dac_read_search", "dac_override"):
        caps = [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"]
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *caps]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    raise RuntimeError("setpriv can hand on neither dac_read_search nor dac_override; run the tests as a plain user")


class SlurmCluster:
    """Nodes n1, n2, … of `cpus` cores each, in one partition.

    Args:
        folder: where configuration, state and logs go; its path must be free of spaces.
        nodes, cpus, memory_mb: how many nodes, and the size of each, as Slurm is told.
        gpus: of each node, all of them /dev/null.
        partitions: lines of slurm.conf, in place of the one partition.
        user: number of the user that everything runs as, where that is another than the present one (which is root).
        settings: lines of slurm.conf to add or replace, as {"MaxArraySize": "5"}.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        cpus: int = 8,
        memory_mb: int = 64_000,
        gpus: int = 0,
        partitions: Sequence[str] = ("all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",),
        user: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        self.nodes = [f"n{index + 1}" for index in range(nodes)]
        self._size = f"CPUs={cpus} CoresPerSocket={cpus} RealMemory={memory_mb}"
        self._gpus, self._partitions = gpus, partitions
        self._user = os.geteuid() if user is None else user
        self.prefix = [] if user is None else as_user(user)
        self._settings = dict(settings or {})
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.config)}

    def start(self) -> None:
        for name in ("state", "spool", "logs", "devices"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            os.chown(self.folder / name, self._user, -1)
        self._port, *node_ports = free_ports(1 + len(self.nodes))
        self.config.write_text(self._config_text(node_ports))
        (self.folder / "gres.conf").write_text(self._gres_text())
        try:
            self.start_controller()
            for node in self.nodes:
                self.start_node(node)
            wait_until(self._all_idle, f"all of {self.nodes} idle; see {self.folder}/logs")
        except BaseException:
            self.stop()
            raise

    def start_controller(self) -> None:
        self._launch("slurmctld", "-D")
        wait_until(lambda: answers(self._port), f"slurmctld listens on port {self._port}")

    def start_node(self, node: str) -> None:
        self._launch("slurmd", "-D", "-N", node, name=node)

    def stop(self) -> None:
        for daemon in self._daemons.values():
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        self._kill_jobs()

    def kill(self, name: str) -> None:
        """Kill a daemon outright: "slurmctld" or that of a node."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def kill_node(self, node: str) -> None:
        """What a power failure does to a node: its daemon and all processes of its jobs are gone at once."""
        self.kill(node)
        self._kill_jobs(node)

    def node_of(self, job: str) -> str:
        return self.ask("squeue", "-h", "-o", "%N", f"--jobs={job}").strip()

    def ask(self, *command: str) -> str:
        """Standard output of one of Slurm's commands on this cluster."""
        command = (*self.prefix, *command)
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def processes(self, node: str = "") -> list[int]:
        """Processes of this cluster's jobs, or of those on a node: by what is in their environment."""
        mine = f"SLURM_CONF={self.config}".encode()
        places = {f"{NODE_VARIABLE}={node}".encode(), f"SLURMD_NODENAME={node}".encode()}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                is_step_daemon = (folder / "cmdline").read_bytes().startswith(b"slurmstepd:")
            except OSError:
                continue
            is_job = any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
            is_here = not node or not places.isdisjoint(variables)
            if mine in variables and (is_step_daemon or is_job) and is_here and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    def _kill_jobs(self, node: str = "") -> None:
        while pids := self.processes(node):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _launch(self, program: str, *arguments: str, name: str | None = None) -> None:
        path = shutil.which(program, path=SEARCH_PATH)
        assert path is not None, f"{program} is missing; {HOW_TO_INSTALL}"
        with (self.folder / "logs" / f"{name or program}.out").open("ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                [*self.prefix, path, *arguments],
                env={**self.environment, NODE_VARIABLE: name or ""},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _all_idle(self) -> bool:
        listed = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %T"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return set(listed.stdout.splitlines()) == {f"{node} idle" for node in self.nodes}

    def _config_text(self, node_ports: list[int]) -> str:
        host, user = socket.gethostname().partition(".")[0], str(self._user)
        settings = {
            "ClusterName": "test",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": str(self._port),
            "SlurmUser": user,
            "SlurmdUser": user,
            "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
            "AuthType": "auth/none",
            "CredType": "cred/none",
            # A requeued job waits until its credential has expired: two minutes by default, and for less than 5.
            "AuthInfo": "cred_expire=5",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SwitchType": "switch/none",
            "MpiDefault": "none",
            "JobAcctGatherType": "jobacct_gather/linux",
            "AccountingStorageType": "accounting_storage/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "SchedulerParameters": "bf_interval=1,sched_interval=2,sched_min_interval=0,batch_sched_delay=0",
            # Nodes are as large as we say, whatever the machine has.
            "SlurmdParameters": "config_overrides",
            "ReturnToService": "2",
            "SlurmdTimeout": "10",
            # How long the commands wait for a controller that is away.
            "SlurmctldTimeout": "2",
            "MessageTimeout": "5",
            "KillWait": "3",
            "MinJobAge": "3600",
            "StateSaveLocation": f"{self.folder}/state",
            "SlurmdSpoolDir": f"{self.folder}/spool/%n",
            "SlurmctldPidFile": f"{self.folder}/slurmctld.pid",
            "SlurmdPidFile": f"{self.folder}/%n.pid",
            "SlurmctldLogFile": f"{self.folder}/logs/slurmctld.log",
            "SlurmdLogFile": f"{self.folder}/logs/%n.log",
            **({"GresTypes": "gpu"} if self._gpus else {}),
            **self._settings,
        }
        lines = [f"{name}={value}" for name, value in settings.items()]
        size = f"{self._size} Gres=gpu:{self._gpus}" if self._gpus else self._size
        for node, port in zip(self.nodes, node_ports, strict=True):
            lines.append(f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {size}")
        lines += [f"PartitionName={partition}" for partition in self._partitions]
        return "\n".join(lines) + "\n"

    def _gres_text(self) -> str:
        """GPUs must be devices: links to one do."""
        devices = [self.folder / "devices" / f"gpu{index}" for index in range(self._gpus)]
        for device in devices:
            device.symlink_to("/dev/null")
        return "".join(f"NodeName={','.join(self.nodes)} Name=gpu File={device}\n" for device in devices)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; all are held until all are found, so that none comes twice."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 30.0) -> None:
    """Look every 20 ms until the condition holds.

    Raises:
        TimeoutError: it did not.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_seconds:g} s: {what}")
        time.sleep(0.02)
