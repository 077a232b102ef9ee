"""Proportional set size out of the kernel's text."""

from pathlib import Path

from fdbpl.pipeline.bench.memory import mapped_pss_bytes

SMAPS = """\
55d0c000-55d0d000 r--p 00000000 fe:00 12 /usr/bin/python3
Rss:                   4 kB
Pss:                   4 kB
7f0000000000-7f0000100000 r--s 00000000 fe:00 13 /data/a b/store.zarr/x/c.0.0.0
Size:               1024 kB
Pss:                 100 kB
Pss_Dirty:             7 kB
7f0000100000-7f0000200000 ---p 00000000 00:00 0
Pss:                  50 kB
7f0000200000-7f0000300000 r--s 00000000 fe:00 14 /data/a b/store.zarr/x/c.1.0.0
Pss:                  28 kB
7f0000300000-7f0000400000 r--s 00000000 fe:00 15 /data/a b/store.zarr-other/x
Pss:                   9 kB
"""


def test_only_maps_of_files_below_the_folder_count(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS)
    assert mapped_pss_bytes(tmp_path / "smaps", Path("/data/a b/store.zarr")) == 128 * 1024
