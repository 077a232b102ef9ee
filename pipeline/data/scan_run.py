"""The scan of a run's image files: by the run's policy of bad images, with what earlier scans of the run have found."""

from collections.abc import Callable, Sequence

from fdbpl.cache_layout.images import ImageIndex
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.datasets.scan import BadImages, scan_images
from fdbpl.pipeline.datasets.scan_log import ScanLog
from fdbpl.pipeline.loading.decoder import UnreadableImages
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.whole_file import replace_file

OnProgress = Callable[[int, int], None]
Say = Callable[[str], None]

_ADVICE = {
    "error": 'mend or remove them, or set data.bad_images = "exclude" to leave them out',
    "exclude": "mend some: without a readable one there is nothing to do",
}


def scan_run(
    config: RunConfig,
    paths: Sequence[str],
    labels: Sequence[int],
    *,
    on_progress: OnProgress | None = None,
    digests: bool = False,
    bad_images: BadImages | None = None,
    may_be_empty: bool = False,
    advice: str = "",
    say: Say | None = None,
) -> ImageIndex:
    """Scan images of the run's data set; see `scan_images`.

    Args:
        bad_images: the config's policy where None.
        advice: what to do about bad files.

    Raises:
        UnreadableImages: as of `scan_images`; all of them are in the run folder's list too.
    """
    folder = RunFolder(config.folder)
    policy = bad_images or config.data.bad_images
    try:
        return scan_images(
            config.data.folder / config.data.images,
            paths,
            labels,
            on_progress=on_progress,
            num_threads=config.loading.scan_threads,
            digests=digests,
            bad_images=policy,
            may_be_empty=may_be_empty,
            log=ScanLog(folder.scan_log),
            say=say,
        )
    except UnreadableImages as error:
        listed = "".join(f"{bad.path}\t{bad.reason}\n" for bad in error.images)
        replace_file(folder.bad_images_file, listed.encode("utf-8", "surrogateescape"))
        where = f"; all are listed in {folder.bad_images_file}"
        raise UnreadableImages(error.images, error.num_images, advice or _ADVICE[policy], where) from error
