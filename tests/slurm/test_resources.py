import pytest

from fdbpl.slurm.resources import Resources


def test_defaults() -> None:
    resources = Resources()
    assert (resources.cpus, resources.memory_gb, resources.gpus) == (1, 4, 0)
    assert (resources.minutes, resources.max_parallel) == (60, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpus", 0), ("cpus", 1.5), ("gpus", -1), ("minutes", 0), ("max_parallel", 0), ("memory_gb", 0)],
)
def test_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Resources\.{field}: found {value}"):
        Resources(**{field: value})
