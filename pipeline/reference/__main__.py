"""`python -m fdbpl.pipeline.reference FOLDER` writes the pages that are made from the program; `make reference`."""

import sys
from pathlib import Path

from fdbpl.pipeline.reference.pages import PAGES
from fdbpl.pipeline.whole_file import replace_file


def main(folder: Path) -> None:
    """Write every page into a folder, in place of what is there."""
    for name, make in PAGES.items():
        replace_file(folder / name, make().encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
