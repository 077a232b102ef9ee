"""The results as a table for people: on the terminal, and as Markdown."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from fdbpl.pipeline.whole_file import replace_file

COLUMNS = ("method", "base", "new", "HM", "n", "train s")
_ROLES = {
    "teacher": "teacher",
    "teacher_labels": "teacher, as it labels",
    "student": "student",
    "student_start": "student, at the start",
}
NOTE = (
    "Accuracy in percent: base images among the base classes, new images among the new classes, and their harmonic "
    "mean (of the means). In quotes: hand-written prompts. Learned rows: mean ± standard deviation over n seeds, in "
    "the order of the config, not by rank."
)


def result_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Zero-shot rows first, then one row a method; every method is shown, whatever it reached."""
    rows = []
    order = list(_ROLES)
    for role in sorted(results["zero_shot"], key=lambda role: (order.index(role.partition(" ")[0]), role)):
        row = results["zero_shot"][role]
        base_role, _, model = role.partition(" ")
        name = _ROLES[base_role] + (f" ({model})" if model else "")
        accuracies = (f"{row[key]:.1f}" for key in ("base", "new", "hm"))
        rows.append((f"{name}: '{row['template']}'", *accuracies, "", ""))
    for method in results["methods"]:
        if not method["num_seeds"]:
            rows.append((method["method"], "not trained yet", "", "", "0", ""))
            continue
        cells = (_spread(method[key], method[f"{key}_sd"]) for key in ("base", "new", "hm"))
        rows.append((method["method"], *cells, str(method["num_seeds"]), f"{method['train_seconds']:.1f}"))
    return rows


def result_table(results: dict[str, Any]) -> Table:
    table = Table(title=f"{results['data']}: base-to-new", caption=_note(results), caption_justify="left", box=SIMPLE)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left", no_wrap=number > 0)
    learned_from = len(results["zero_shot"])
    for number, row in enumerate(result_rows(results)):
        table.add_row(*row, end_section=number == learned_from - 1)
    return table


def write_report(path: Path, results: dict[str, Any]) -> None:
    """The table as a Markdown page."""
    lines = [f"# {results['data']}: base-to-new", "", "| " + " | ".join(COLUMNS) + " |"]
    lines.append("|" + "---|" * len(COLUMNS))
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in result_rows(results)]
    lines += ["", _note(results), ""]
    replace_file(path, "\n".join(lines).encode())


def _note(results: dict[str, Any]) -> str:
    """What the numbers are, and on how many images fewer than there should be."""
    tests, trains = len(results.get("test_images_excluded", ())), results.get("train_images_excluded", 0)
    told = f" {tests} of {tests + results['test_images']} test images cannot be read and are left out." if tests else ""
    told += f" {trains} training images cannot be read and are excluded." if trains else ""
    return NOTE + told


def _spread(mean: float, sd: float | None) -> str:
    return f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"
