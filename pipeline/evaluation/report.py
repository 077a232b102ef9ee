"""The results as a table for people: on the terminal, and as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from fdbpl.pipeline.whole_file import replace_file

TITLES = {"hm": "HM"}
_ROLES = {
    "teacher": "teacher",
    "teacher_labels": "teacher, as it labels",
    "student": "student",
    "student_start": "student, at the start",
}
_MEASURED = {
    "base-to-new": "base images among the base classes, new images among the new classes, and their harmonic mean (of "
    "the means)",
    "few-shot": "all test images among all classes",
    "cross-dataset": "each data set's test images among its own classes, and the mean over all but the first",
    "domain-generalisation": "each data set's test images among its own classes, and the mean over all but the first",
}
_ROWS = (
    "In quotes: hand-written prompts. Learned rows: mean ± standard deviation over n seeds, in the order of the "
    "config, not by rank."
)
_REJECTION = (
    "Rejection: how well images of none of the classes trained on (the new ones') are told from those of one, among "
    "these; AUROC and FPR95 in percent, mean over seeds, by the largest probability, by how much the positive prompt "
    "outweighs the negative one, and by both."
)


def result_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Zero-shot rows first, then one row a method; every method is shown, whatever it reached."""
    rows = []
    order = list(_ROLES)
    for role in sorted(results["zero_shot"], key=lambda role: (order.index(role.partition(" ")[0]), role)):
        row = results["zero_shot"][role]
        base_role, _, model = role.partition(" ")
        name = _ROLES[base_role] + (f" ({model})" if model else "")
        accuracies = (f"{row[key]:.1f}" for key in results["columns"])
        rows.append((f"{name}: '{row['template']}'", *accuracies, "", ""))
    for method in results["methods"]:
        if not method["num_seeds"]:
            empty = [""] * (len(results["columns"]) - 1)
            rows.append((method["method"], "not trained yet", *empty, "0", ""))
            continue
        cells = (_spread(method[key], method[f"{key}_sd"]) for key in results["columns"])
        rows.append((method["method"], *cells, str(method["num_seeds"]), f"{method['train_seconds']:.1f}"))
    return rows


def result_table(results: dict[str, Any]) -> Table:
    title = f"{results['data']}: {results['protocol']}"
    table = Table(title=title, caption=_note(results), caption_justify="left", box=SIMPLE)
    for number, column in enumerate(_titles(results)):
        table.add_column(column, justify="right" if number else "left", no_wrap=number > 0, overflow="fold")
    learned_from = len(results["zero_shot"])
    for number, row in enumerate(result_rows(results)):
        table.add_row(*row, end_section=number == learned_from - 1)
    return table


def write_report(path: Path, results: dict[str, Any]) -> None:
    """The table as a Markdown page."""
    lines = [f"# {results['data']}: {results['protocol']}", "", *_markdown(_titles(results), result_rows(results))]
    lines += ["", _note(results), ""]
    rejected = rejection_rows(results)
    if rejected:
        lines += ["## Rejection", "", *_markdown(REJECTION_TITLES, rejected), "", _REJECTION, ""]
    replace_file(path, "\n".join(lines).encode())


REJECTION_TITLES = ("method", "score", "AUROC", "FPR95")


def rejection_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each method and score, where rejection was measured."""
    return [
        (method["method"], score.replace("_", " "), f"{found['auroc']:.1f}", f"{found['fpr95']:.1f}")
        for method in results["methods"]
        for score, found in method.get("rejection", {}).items()
    ]


def rejection_table(results: dict[str, Any]) -> Table | None:
    rows = rejection_rows(results)
    if not rows:
        return None
    table = Table(*REJECTION_TITLES, title="rejection", caption=_REJECTION, caption_justify="left", box=SIMPLE)
    for row in rows:
        table.add_row(*row)
    return table


def _titles(results: dict[str, Any]) -> tuple[str, ...]:
    return ("method", *(TITLES.get(column, column) for column in results["columns"]), "n", "train s")


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _note(results: dict[str, Any]) -> str:
    """What the numbers are, and on how many images fewer than there should be."""
    tests, trains = len(results.get("test_images_excluded", ())), results.get("train_images_excluded", 0)
    told = f" {tests} of {tests + results['test_images']} test images cannot be read and are left out." if tests else ""
    told += f" {trains} training images cannot be read and are excluded." if trains else ""
    return f"Accuracy in percent: {_MEASURED[results['protocol']]}. {_ROWS}{told}"


def _spread(mean: float, sd: float | None) -> str:
    return f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"
