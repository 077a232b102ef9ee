"""What `fdbpl inspect` has found, as pages. Each begins with the result in a sentence."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from fdbpl.pipeline.inspection.cards import Card, gallery, image_with_crops, style
from fdbpl.pipeline.inspection.crops import Crop
from fdbpl.pipeline.inspection.disagreement import Disagreement, Parted
from fdbpl.pipeline.inspection.distribution import Distribution
from fdbpl.pipeline.inspection.extremes import Extremes
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.plots import agreement_figure, areas_figure, similarity_figure, weights_figure
from fdbpl.pipeline.inspection.similarity import Held, Similarity
from fdbpl.pipeline.pages.page import Page, Section, facts, paragraphs
from fdbpl.pipeline.pages.tables import table

_WEIGHT = "The weight 1 - H/log C is 1 where the teacher is certain, 0 where it knows nothing."
_CARDS = f"{_WEIGHT} The class of the image is bold."


def store_page(opened: Opened, found: Distribution, class_name: str) -> Page:
    """Weights and entropies of all crops."""
    titles = ("crops", "mean weight", "teacher right, %")
    areas = [(f"{100 * row['area'][1]:.0f}", *_row(row)) for row in found.by_area() if row["crops"]]
    classes = [(row["class"], *_row(row)) for row in found.by_class()]
    return Page(
        title=f"How informative the crops {_of(class_name)}are",
        subtitle=f"{found.num_views:,} crops have a mean weight of {found.mean:.3f}; half of them are above "
        f"{found.quantile(0.5):.2f}, one in twenty is below {found.quantile(0.05):.2f}.",
        sections=(
            Section(
                name="weights",
                title="Weights and entropies",
                body=(weights_figure(found), _asked(opened)),
                note=_WEIGHT,
            ),
            Section(
                name="areas",
                title="By area",
                body=(areas_figure(found), table("by-area", ("area up to, %", *titles), areas)),
            ),
            Section(
                name="classes",
                title="By class of the image",
                body=(table("by-class", ("class", *titles), classes),),
                note="The most informative first. Right: the teacher's likeliest class is the image's.",
            ),
        ),
    )


def crops_page(opened: Opened, found: Extremes, class_name: str) -> Page:
    """The most and the least informative crops."""
    return Page(
        title=f"The most and the least informative crops {_of(class_name)}".strip(),
        subtitle=f"The weights of {found.num_views:,} crops go from {_weight(found.least[0])} to "
        f"{_weight(found.most[0])}.",
        sections=(
            Section(name="most", title="The most informative", body=(_plain(opened, "most", found.most),), note=_CARDS),
            Section(
                name="least",
                title="The least informative",
                body=(_plain(opened, "least", found.least), _asked(opened)),
            ),
        ),
        style=style(),
    )


def image_page(opened: Opened, crops: Sequence[Crop], limit: int = 0) -> Page:
    """An image with its crops, of which the first `limit` are shown (0: all)."""
    cards = [Card(crop=crop) for crop in crops[: limit or None]]
    first, last = crops[0], crops[-1]
    right = sum(crop.teacher[0][0] == crop.class_name for crop in crops)
    taken = f"; the teacher takes {right} of them for {first.class_name}" if first.class_name else ""
    return Page(
        title=first.path,
        subtitle=f"{len(crops)} crops with weights from {_weight(last)} to {_weight(first)}{taken}.",
        sections=(
            Section(
                name="crops",
                title="Its crops, the most informative first",
                body=(image_with_crops(opened, "crop", cards, crops), _asked(opened)),
                note=f"{_CARDS} Each crop is as the teacher saw it.",
            ),
        ),
        style=style(),
    )


def student_page(opened: Opened, found: Disagreement, class_name: str) -> Page:
    """Where student and teacher part."""
    known, teacher, student = found.rights
    numbers = [("mean KL(teacher ‖ student)", f"{found.mean:.3f} nats")]
    if known:
        numbers.append(("teacher right", f"{100 * teacher / known:.1f} %"))
        numbers.append(("student right", f"{100 * student / known:.1f} %"))
    return Page(
        title=f"Where {found.student_id} and the teacher disagree",
        subtitle=f"Both have one likeliest class on {100 * found.same:.1f} % of {found.num_views:,} crops "
        f"{_of(class_name)}".strip()
        + ".",
        sections=(
            Section(
                name="agreement",
                title="How often",
                body=(
                    _asked(opened, *numbers),
                    agreement_figure(found),
                    table("pairs", ("teacher says", "student says", "crops"), found.pairs, numeric=(2,)),
                ),
            ),
            Section(
                name="farthest",
                title="The largest divergence",
                body=(gallery(opened, "farthest", [_parted(one) for one in found.farthest]),),
                note="Crops with the largest KL(teacher ‖ student), in nats. The class of the image is bold.",
            ),
            Section(
                name="surest",
                title="Different likeliest classes",
                body=(
                    gallery(opened, "surest", [_parted(one) for one in found.surest])
                    if found.surest
                    else paragraphs("There are none."),
                ),
                note=f"Those of which the teacher can tell the most. {_WEIGHT}",
            ),
        ),
        style=style(),
    )


def prompts_page(opened: Opened, found: Similarity) -> Page:
    """The two prompts of a class."""
    told = found.to_json()
    rows = [
        (name, *(f"{told[name][key]:.3f}" for key in ("mean", "sd", "least", "most")))
        for name in ("positive", "negative", "difference")
    ]
    nearer = float((found.positive_V > found.negative_V).mean())
    correlation = "-" if found.correlation is None else f"{found.correlation:.2f}"
    return Page(
        title=f"{found.class_name}: positive and negative prompt",
        subtitle=f"{found.student_id} has the positive prompt nearer on {100 * nearer:.1f} % of "
        f"{len(found.positive_V):,} crops of {found.class_name}.",
        sections=(
            Section(
                name="similarity",
                title="Similarity",
                body=(
                    similarity_figure(found),
                    table("cosines", ("cosine", "mean", "standard deviation", "least", "most"), rows),
                    _asked(opened, ("correlation of the difference with the weight", correlation)),
                ),
                note="The difference is positive less negative.",
            ),
            Section(
                name="accepted",
                title="Nearest to the positive prompt",
                body=(gallery(opened, "accepted", [_held(one) for one in found.accepted]),),
                note=_CARDS,
            ),
            Section(
                name="rejected",
                title="Nearest to the negative prompt",
                body=(gallery(opened, "rejected", [_held(one) for one in found.rejected]),),
            ),
        ),
        style=style(),
    )


def _asked(opened: Opened, *more: tuple[str, str]) -> Markup:
    """What was asked, of whom."""
    manifest = opened.reader.manifest
    pairs = [
        *more,
        ("store", f"{opened.reader.path.name}, {manifest.fingerprint.removeprefix('sha256:')[:12]}"),
        ("teacher", manifest.fields["teacher"]["model"]),
        ("classes", f"{opened.names}: {len(opened.class_names)}"),
        ("labels", opened.labels.source.partition("; not ")[0]),
    ]
    return facts(pairs)


def _of(class_name: str) -> str:
    return f"of {class_name} " if class_name else ""


def _weight(crop: Crop) -> str:
    return f"{max(crop.weight, 0.0):.3f}"


def _row(row: dict[str, Any]) -> tuple[str, str, str]:
    """What tables tell of some crops."""
    right = "-" if row["right"] is None else f"{100 * row['right']:.1f}"
    return f"{row['crops']}", f"{row['mean_weight']:.3f}", right


def _plain(opened: Opened, name: str, crops: Sequence[Crop]) -> Markup:
    return gallery(opened, name, [Card(crop=crop) for crop in crops])


def _parted(one: Parted) -> Card:
    answers = (("teacher", one.crop.teacher), ("student", one.student))
    return Card(crop=one.crop, facts=(("KL", f"{one.divergence:.2f}"),), answers=answers)


def _held(one: Held) -> Card:
    return Card(crop=one.crop, facts=(("positive", f"{one.positive:.3f}"), ("negative", f"{one.negative:.3f}")))
