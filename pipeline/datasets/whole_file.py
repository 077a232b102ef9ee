"""Files that appear under their name whole or not at all, whatever kills the writer.

Not flushed to the disk: a world and its checkpoints can be made again. Costs a rename.
"""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write under a name of this process in the same folder, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
