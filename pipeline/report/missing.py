"""What a run does not have yet, or never wrote down, in plain words."""

from fdbpl.pipeline.report.gathered import Gathered


def missing(run: Gathered) -> list[str]:
    """What stands between a run and its complete table; nothing where it is complete."""
    if run.results and not run.unfinished:
        return []
    lines = [*_labels(run), *_students(run)]
    return [*lines, *([] if run.results else ["Nothing was evaluated yet."])]


def untold(run: Gathered) -> list[str]:
    """What records of earlier versions do not tell, of a run that is complete too."""
    lines = []
    if run.results and not run.stages:
        lines.append("The records of its tasks are not there: where the time went is not known.")
    silent = [student["id"] for student in run.results.get("students", ()) if student["id"] not in run.metrics]
    if silent:
        lines.append(f"No curves are there of {some(silent)}.")
    tasks = [task for stage in run.stages for task in stage.tasks]
    if any(not task.tells_start for task in tasks):
        lines.append("Some tasks ran before tasks told when their process began: their start-up counts as queue.")
    return lines


def some(names: list[str], most: int = 8) -> str:
    """The first few names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _labels(run: Gathered) -> list[str]:
    if not run.store:
        needs = any(plan.needs_store for plan in run.plans.values())
        return ["There is no store yet, which its students read."] if needs else []
    return [
        f"{name}: {one['blocks_present']} of {one['blocks']} blocks are in the store"
        + ("." if one["blocks_present"] < one["blocks"] else ", which is not sealed.")
        for name, one in run.store["campaigns"].items()
        if one["blocks_present"] < one["blocks"] or not one["sealed"]
    ]


def _students(run: Gathered) -> list[str]:
    trained = sum(name in run.trained for name in run.unfinished)
    if not run.unfinished:
        return []
    but = f" ({trained} of them trained and are not evaluated)" if trained else ""
    return [f"{len(run.unfinished)} of {len(run.plans)} students have no result{but}: {some(run.unfinished)}."]
