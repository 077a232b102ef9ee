"""The results of a reproduction as a Markdown page: tables with their spread, and only what that allows to say."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fdbpl.pipeline.reproduce.plots import PLOTS
from fdbpl.pipeline.reproduce.scores import sample_sd
from fdbpl.pipeline.whole_file import replace_file

_CAPTIONS = {
    "accuracy": "HM of each method; a dot is a pretrained student, the bar their mean.",
    "differences": "Differences to the reference, paired by student; the bar is their mean ± two standard errors.",
}
_ROLES = {
    "teacher": "teacher, right words",
    "student": "students, right words",
    "student_start": "students, the words they start from",
}


def write_report(path: Path, results: dict[str, Any]) -> None:
    """Write the page; its plots lie beside it."""
    replace_file(path, "\n".join(page_lines(results)).encode())


def page_lines(results: dict[str, Any]) -> list[str]:
    """The lines of the page."""
    form = results["form"]
    num_students = len(form["students"])
    return [
        f"# The comparison in small: {form['name']} form",
        "",
        *_introduction(results),
        *(
            line
            for title, head, rows in method_tables(results)
            for line in (f"**{title}**", "", *_table(head, rows), "")
        ),
        *(line for name in PLOTS for line in (f"![{_CAPTIONS[name]}]({name}.svg)", "", f"*{_CAPTIONS[name]}*", "")),
        "## What the spread allows to say",
        "",
        f"Paired over {num_students} students. With so few, chance alone puts one mean in ten further from zero than "
        "two standard errors: what is called clear here is a finding where it shows again, not by itself.",
        "",
        *(f"- {line}" for line in sentences(results)),
        "",
        *_pooled_lines(results),
        *_rejection_lines(results),
        "## What showed in earlier studies",
        "",
        *_replicated(results),
        "",
        "## Hand-written prompts",
        "",
        *_zero_shot_table(results),
        "",
        "## What the teacher's weight knows",
        "",
        "Mean weight w = 1 - H(T)/log C of the stored crops, by what they show, and the area under the ROC curve of w "
        "for 'the main object is in the crop'.",
        "",
        *_region_table(results),
        "",
        "## Each student",
        "",
        "HM by " + " / ".join(row["label"] for row in form["rows"]) + ".",
        "",
        *_student_table(results),
        "",
    ]


def clear_words(row: dict[str, Any], label: str, reference: str) -> str:
    """One difference in words: an order only where the spread allows one."""
    told = f"{row['paired_difference']:+.1f} ± {_number(row['standard_error'])}"
    counted = f"{row['students_above']} of {row['num_students']} students above"
    if not row["is_clear"]:
        return f"{label} and {reference}: no clear order ({told}, {counted})"
    order = "above" if row["paired_difference"] > 0 else "below"
    return f"{label} is {order} {reference} ({told}, {counted})"


def _introduction(results: dict[str, Any]) -> list[str]:
    form = results["form"]
    crops = " and ".join(f"{name} ({low:g} to {high:g} of the area)" for name, (low, high) in form["crops"].items())
    size, _, study = form["name"].partition("-")
    flag = ("" if size == "quick" else f" --{size}") + (f" --study {study}" if study else "")
    numbers = [student.removeprefix("student") for student in form["students"]]
    seeds, recipe = f"{numbers[0]} to {numbers[-1]}", form["student_recipe"]
    return [
        f"Made by `fdbpl reproduce mini{flag}`: {len(form['students'])} students, each pretrained anew (seeds {seeds}; "
        f"{recipe['steps']} steps, {recipe['wrong_word_fraction']:.0%} of the captions' words wrong), learn 4 context "
        "tokens from the words 'a photo of a', which mislead on these images (colour negatives, which only a caption "
        f"can tell; worlds of seed {form['world']['seed']}). {form['steps']} steps of Adam, batches of at most "
        f"{form['batch_size']}, {form['crop_seeds']} stored crops an image, few-shot seeds "
        f"{', '.join(map(str, form['few_shot_seeds']))}; crops {crops}; {results['test_images'] // 2} test images a "
        "half. *latin*: new classes are new pairs of the base classes' words; *grid*: they share no word with them.",
        "",
        "Accuracy in percent. A student's score is its mean over few-shot seeds, HM that of its mean base and new "
        "accuracy. Rows: mean ± standard deviation over students. Last column: difference of HM to the reference, "
        "paired by student, ± its standard error. Methods stand in the order of their publication, not by rank.",
        "",
    ]


def method_tables(results: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, head and rows of the table of each setting."""
    labels = _labels(results)
    head = ("method", "base", "new", "HM", f"HM - {labels[results['reference']]}'s")
    for key in dict.fromkeys(_setting(row) for row in results["summary"]):
        own = [row for row in results["summary"] if _setting(row) == key]
        yield _setting_words(key), head, [_method_cells(row, labels, results["reference"]) for row in own]


def _method_cells(row: dict[str, Any], labels: dict[str, str], reference: str) -> tuple[str, ...]:
    return (
        labels[row["row"]],
        f"{row['base']:.1f}",
        f"{row['new']:.1f}",
        f"{row['hm']:.1f} ± {_number(row['sd'])}",
        "" if row["row"] == reference else _difference(row),
    )


def sentences(results: dict[str, Any]) -> list[str]:
    """What may be said of each method and setting, a line each."""
    labels = _labels(results)
    reference = labels[results["reference"]]
    return [
        f"{_setting_words(_setting(row))}: {clear_words(row, labels[row['row']], reference)}"
        for row in results["summary"]
        if row["row"] != results["reference"]
    ]


def _pooled_lines(results: dict[str, Any]) -> list[str]:
    """Each method over all settings, paired by student."""
    labels = _labels(results)
    titles = {"hm": "HM", "unlisted": "AUROC, unlisted images", "no_object": "AUROC, crops without the object"}
    shown = [what for what in titles if any(one["what"] == what for one in results["pooled"])]
    rows = []
    for row in dict.fromkeys(one["row"] for one in results["pooled"]):
        cells = [
            _difference(one) for what in shown for one in results["pooled"] if (one["row"], one["what"]) == (row, what)
        ]
        rows.append((labels[row], *cells))
    about = f"Each student's mean difference to {labels[results['reference']]} over all settings, ± its standard error."
    return ["## Over all settings", "", about, "", *_table(("method", *(titles[what] for what in shown)), rows), ""]


def _rejection_lines(results: dict[str, Any]) -> list[str]:
    """What is rejected in each setting; nothing where that is not measured."""
    if not results["rejections"]:
        return []
    labels = _labels(results)
    lines = [
        "## Rejection",
        "",
        "AUROC in percent, by the score named: images of the new classes among the base names (unlisted), and random "
        "crops of test images without the main object, each told from the others.",
        "",
    ]
    for key in dict.fromkeys(_setting(row) for row in results["rejections"]):
        rows = [
            (
                labels[one["row"]],
                one["rejects"].replace("_", " "),
                one["score"].replace("_", " "),
                f"{one['auroc']:.1f} ± {_number(one['sd'])}",
                "" if one["row"] == results["reference"] else _difference(one),
            )
            for one in results["rejections"]
            if _setting(one) == key
        ]
        head = ("method", "rejects", "by", "AUROC", f"less {labels[results['reference']]}'s")
        lines += [f"**{_setting_words(key)}**", "", *_table(head, rows), ""]
    return lines


def _replicated(results: dict[str, Any]) -> list[str]:
    lines = []
    for one in results["replicated"]:
        verdict = "shows again" if one["holds"] else "does not show"
        if "auc" in one:
            told = f"{one['split']}, {one['crops']} crops, {one['teacher']} teacher: AUC {_number(one['auc'], 3)}"
        else:
            told = f"{one['teacher']} teacher, {one['shots']} shots: {_difference(one)}"
        lines.append(f"- {one['claim']} ({told}): {verdict}")
    return lines


def _zero_shot_table(results: dict[str, Any]) -> list[str]:
    rows = []
    groups = dict.fromkeys(
        (row["split"], row["role"], row["model"] if row["role"] == "teacher" else "") for row in results["zero_shot"]
    )
    for split, role, model in groups:
        own = [
            row
            for row in results["zero_shot"]
            if (row["split"], row["role"]) == (split, role) and model in ("", row["model"])
        ]
        name = _ROLES[role] + (f" ({model})" if model else "")
        accuracies = (_spread([row[key] for row in own]) for key in ("base", "new", "hm"))
        rows.append((split, f"{name}: '{own[0]['template']}'", *accuracies))
    return _table(("split", "prompt", "base", "new", "HM"), rows)


def _region_table(results: dict[str, Any]) -> list[str]:
    kinds = ("background", "distractor", "main")
    rows = [
        (
            f"{one['split']}, {one['crops']} crops, {one['teacher']} teacher",
            *(_number(one[kind]["mean_weight"], 2) for kind in kinds),
            _number(one["auc"], 3),
        )
        for one in results["regions"]
    ]
    return _table(("crops", "background", "distractor", "main object", "AUC"), rows)


def _student_table(results: dict[str, Any]) -> list[str]:
    settings = list(dict.fromkeys(_setting(row) for row in results["results"]))
    rows = []
    for student in dict.fromkeys(row["student"] for row in results["results"]):
        own = [row for row in results["results"] if row["student"] == student]
        cells = (" / ".join(f"{row['hm']:.1f}" for row in own if _setting(row) == key) for key in settings)
        rows.append((str(student), *cells))
    return _table(("student", *map(_setting_words, settings)), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _setting(row: dict[str, Any]) -> tuple[str, str, str, int]:
    return (row["split"], row["crops"], row["teacher"], row["shots"])


def _setting_words(key: tuple[str, str, str, int]) -> str:
    split, crops, teacher, shots = key
    return f"{split}, {crops} crops, {shots} shots, {teacher} teacher"


def _labels(results: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["label"] for row in results["form"]["rows"]}


def _difference(row: dict[str, Any]) -> str:
    counted = f"{row['students_above']} of {row['num_students']} above"
    return f"{row['paired_difference']:+.1f} ± {_number(row['standard_error'])} ({counted})"


def _spread(values: Sequence[float]) -> str:
    sd = sample_sd(values)
    return f"{statistics.fmean(values):.1f}" + (f" ± {sd:.1f}" if sd is not None else "")


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
