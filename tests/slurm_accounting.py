"""Slurm's accounting for a throw-away cluster: a database and slurmdbd, in the cluster's folder, on 127.0.0.1.

slurmdbd itself listens everywhere, as it has no setting for that; without authentication it tells and takes no more
than accounts of jobs, and is there for seconds.
"""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = ("mariadbd", "slurmdbd", "sacct")
HOW_TO_INSTALL = "on Debian: apt-get install slurmdbd mariadb-server"


class Accounting:
    """The daemons behind `sacct`. Start it before the cluster, with `settings` among the cluster's own.

    Args:
        folder: the cluster's; slurmdbd looks for its file beside slurm.conf.
        cluster: the module slurm_cluster.
    """

    def __init__(self, folder: Path, cluster: Any) -> None:
        self.folder = folder
        self._wait_until: Callable[..., None] = cluster.wait_until
        self._answers: Callable[[int], bool] = cluster.answers
        self._search_path: str = cluster.SEARCH_PATH
        self._database_port, self._port = cluster.free_ports(2)
        self._daemons: list[subprocess.Popen[bytes]] = []

    @property
    def settings(self) -> dict[str, str]:
        return {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": str(self._port),
        }

    def start(self) -> None:
        database, user = self.folder / "database", pwd.getpwuid(os.geteuid()).pw_name
        (database / "mysql").mkdir(parents=True)
        self._launch(
            "mariadbd",
            "--no-defaults",
            f"--datadir={database}",
            f"--socket={database}/socket",
            f"--port={self._database_port}",
            "--bind-address=127.0.0.1",
            "--skip-grant-tables",
            "--skip-networking=0",
            f"--pid-file={database}/pid",
            f"--user={user}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=8M",
            "--innodb-lock-wait-timeout=900",
        )
        self._wait_until(lambda: self._answers(self._database_port), "the database answers")
        lines = {
            "AuthType": "auth/none",
            "DbdHost": socket.gethostname().partition(".")[0],
            "DbdAddr": "127.0.0.1",
            "DbdPort": str(self._port),
            "SlurmUser": user,
            "LogFile": f"{self.folder}/slurmdbd.log",
            "PidFile": f"{self.folder}/slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "127.0.0.1",
            "StoragePort": str(self._database_port),
            "StorageUser": user,
            "StorageLoc": "accounts",
        }
        config = self.folder / "slurmdbd.conf"
        config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        config.chmod(0o600)
        self._launch("slurmdbd", "-D")
        self._wait_until(lambda: self._answers(self._port), "slurmdbd answers")

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _launch(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=self._search_path)
        assert path is not None, f"{program} is missing; {HOW_TO_INSTALL}"
        environment = {**os.environ, "SLURM_CONF": f"{self.folder}/slurm.conf"}
        with (self.folder / f"{program}.out").open("ab") as log:
            daemon = subprocess.Popen(
                [path, *arguments],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemons.append(daemon)
