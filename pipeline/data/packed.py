"""What is there before shards are written: the images' sizes, finished shards, and what must not be written over."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fdbpl.pipeline.data.pack import NUM_READERS, ShardPlan
from fdbpl.pipeline.shards.files import file_facts
from fdbpl.pipeline.shards.index import Stamp, load_members

_NUM_SHOWN = 20
# Headers of an image and its label, and the fillings.
_EXTRA_BYTES = 4 * 512


def look_at_images(root: Path, plans: Sequence[ShardPlan]) -> dict[str, Stamp]:
    """The size of each image in bytes, and when it was changed.

    Raises:
        ValueError: images that are not there; all of them are counted, the first ones named.
    """
    images = [image for plan in plans for image in plan.images]

    def look(image: str) -> Stamp | str:
        try:
            return file_facts(root / image)
        except OSError as error:
            return f"{root / image}: {error.strerror}"

    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = list(pool.map(look, images))
    bad = [reason for reason in found if isinstance(reason, str)]
    if bad:
        more = [f"... and {len(bad) - _NUM_SHOWN} more"] if len(bad) > _NUM_SHOWN else []
        heading = f"{len(bad)} of {len(images)} images cannot be read; mend them, or remove them from the split file:"
        raise ValueError("\n  ".join([heading, *bad[:_NUM_SHOWN], *more]))
    return {image: fact for image, fact in zip(images, found, strict=True) if not isinstance(fact, str)}


def bytes_to_write(plans: Sequence[ShardPlan], facts: Mapping[str, Stamp]) -> int:
    """About how many bytes the shards that are not there will have."""
    missing = [plan for plan in plans if not plan.path.exists()]
    return sum(facts[image][0] + _EXTRA_BYTES for plan in missing for image in plan.images)


def check_made(out: Path, plans: Sequence[ShardPlan], facts: Mapping[str, Stamp]) -> None:
    """Refuse a folder whose tars are not those that would be written, so that none is mixed up or written over.

    Compares names, sizes, labels and times of change; not every byte.

    Raises:
        ValueError: a tar that is not of these shards, or was made of other images or labels.
        ShardError: a tar that cannot be read.
    """
    foreign = sorted({path.name for path in out.glob("*.tar")} - {plan.path.name for plan in plans})
    if foreign:
        raise ValueError(
            f"found {', '.join(foreign[:5])}{' …' if len(foreign) > 5 else ''} in {out}, expected no other tars there: "
            "remove what an earlier call with other choices made, or choose another folder"
        )
    for plan in plans:
        if plan.path.exists() and (reason := _difference(plan, facts)):
            raise ValueError(
                f"found {plan.path}, made of other images or labels ({reason}), expected those of this data set: "
                "remove it, or choose another folder"
            )


def _difference(plan: ShardPlan, facts: Mapping[str, Stamp]) -> str:
    members, (_, made_ns) = load_members(plan.path)
    wanted = list(plan.members())
    if members.damage:
        return members.damage
    if [name for name, _ in wanted] != list(members.names):
        return "other names"
    with plan.path.open("rb") as file:
        for (name, label), offset, size in zip(wanted, members.offsets, members.sizes, strict=True):
            if label is not None:
                if os.pread(file.fileno(), size, offset) != label:
                    return f"another label in {name}"
            elif size != facts[name][0]:
                return f"another size of {name}"
            elif facts[name][1] > made_ns:
                return f"{name} was changed since"
    return ""
