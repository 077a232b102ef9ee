"""How far a store reaches, before and after it grows: known from the config and the lists, without any image."""

from collections.abc import Collection

from fdbpl.cache_layout.blocks import BlockGrid
from fdbpl.cache_layout.store import Store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.manifest import CAMPAIGN


def new_grid(config: RunConfig, num_images: int) -> BlockGrid:
    """The grid of a store that is made by a config on so many images."""
    return BlockGrid(
        image_counts=(num_images,),
        num_seeds=config.crops.seeds,
        images_per_block=min(config.store.images_per_block, num_images),
        seeds_per_block=min(config.store.seeds_per_block, config.crops.seeds),
    )


def new_paths(store: Store, paths: Collection[str]) -> tuple[str, ...]:
    """Those images, each once, that the store's teacher campaign neither covers nor excludes. Reads the image index."""
    images = store.images_of(store.campaign(CAMPAIGN).grid)
    known = {*images.paths, *(path for path, _ in images.excluded)}
    return tuple(dict.fromkeys(path for path in paths if path not in known))


def grown_grid(store: Store, config: RunConfig, num_new: int | None) -> BlockGrid:
    """The teacher's grid once it has all seeds of a config and a further part of so many images (None: no part).

    Raises:
        ValueError: seeds that would change a block that is written already.
    """
    grid = store.campaign(CAMPAIGN).grid
    return grid.grown(num_seeds=max(grid.num_seeds, config.crops.seeds), new_images=num_new)
