from typing import Any

import pytest


def test_without_slurm_tests_are_skipped_with_the_way_to_install_it(cluster_module: Any) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"slurmd not found\); on Debian: apt-get install slurm-wlm"):
        cluster_module.require_slurm(["slurmd"], {})


def test_without_slurm_tests_fail_in_ci(cluster_module: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match="apt-get install slurm-wlm"):
        cluster_module.require_slurm(["slurmd"], {"CI": "true"})


def test_with_slurm_tests_run(cluster_module: Any) -> None:
    cluster_module.require_slurm([], {"CI": "true"})


@pytest.mark.slurm
def test_the_cluster_listens_on_this_machine_alone_and_leaves_nothing(slurm_cluster: Any) -> None:
    slurm_cluster.ask("sbatch", "--output=/dev/null", "--wrap=sleep 600")
    assert slurm_cluster.ask("sinfo", "-h", "-o", "%D").strip() == "2"
    slurm_cluster.stop()
    assert slurm_cluster.processes() == []
