"""The process that `fdbpl bench start` times: a student's task to its first step.

    python -m fdbpl.pipeline.bench.start_child CONFIG STUDENT

What the task does is done by the task's own function. Parts of it that are done once in a process are asked for before,
as the task would, so that each has a time of its own. At the end it prints, as JSON, when each phase was over: on the
monotonic clock, which all processes of a machine share, and in seconds that the process has had of all cores.
"""

import json
import sys
import time
from pathlib import Path

from fdbpl.slurm.stage import resolve

PHASES = ("imports", "model", "weights by content", "store", "prompts and first step")


class FirstStep(Exception):
    """The student has made its first step: no error, but the end of what is measured."""


def main(config_file: Path, student_id: str) -> dict[str, tuple[float, float]]:
    """Phase -> when it was over, by both clocks."""
    ends: dict[str, tuple[float, float]] = {}

    def is_over(phase: str) -> None:
        ends[phase] = time.monotonic(), time.process_time()

    resolve("fdbpl.pipeline.run.tasks:train")  # as a worker does
    from fdbpl.pipeline.clip.backbone import check_names, load_backbone
    from fdbpl.pipeline.data.exclusions import run_data
    from fdbpl.pipeline.device import choose_device
    from fdbpl.pipeline.run_folder import saved_config
    from fdbpl.pipeline.students.checked import plan_by_id
    from fdbpl.pipeline.training.student_record import student_identity
    from fdbpl.pipeline.training.student_run import run_student
    from fdbpl.pipeline.training.student_store import open_store_for

    config = saved_config(config_file)
    plan = plan_by_id(config, student_id)
    check_names(plan.config.model, plan.config.pretrained)  # imports open_clip
    is_over("imports")
    load_backbone(plan.config, choose_device(config.loading.device))
    is_over("model")
    data = run_data(config)
    student_identity(config, plan, data)
    is_over("weights by content")
    open_store_for(config, [plan], data).close()
    is_over("store")

    def stop(done: int, total: int) -> None:
        is_over("prompts and first step")
        raise FirstStep

    try:
        run_student(config, plan, stop)
    except FirstStep:
        return ends
    raise AssertionError("a student that is finished takes no step, and this one never is")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
