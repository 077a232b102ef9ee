"""What the docs show of configs and site profiles is accepted by the code."""

import re
import tomllib
from pathlib import Path

from fdbpl.pipeline.config import ClusterConfig
from fdbpl.slurm.profile import Profile

DOCS = Path(__file__).parents[1] / "docs"


def test_the_configs_and_profiles_of_clusters_md_are_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / "clusters.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        values = tomllib.loads(block)
        if "cluster" in values:
            cluster = ClusterConfig.model_validate(values["cluster"])
            Profile.model_validate(cluster.slurm)
        else:
            Profile.model_validate(values)
