"""Progress bars of a chain that runs: what `Backend.run` calls with the tasks of a step, now and then."""

from contextlib import ExitStack
from typing import Any, Self

from fdbpl.pipeline.progress import Ui
from fdbpl.slurm.chain import Chain
from fdbpl.slurm.status import StageStatus


class StepBars:
    """A bar for each step of a chain, from its first sign of life."""

    def __init__(self, ui: Ui, chain: Chain) -> None:
        self._ui, self._stack = ui, ExitStack()
        self._units = {step.name: step.unit for step in chain.steps}
        self._current = ""
        self._draw: Any = None
        self._is_busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, status: StageStatus) -> None:
        """Tasks that have not started are as long as the others, until they say otherwise."""
        progress = status.progress
        reported = sum(record.progress is not None for record in status.records.values())
        is_new = status.stage != self._current
        if not reported or (is_new and (self._is_busy or status.is_finished)):
            return
        self._is_busy = not status.is_finished
        if is_new:
            self._stack.close()
            self._current = status.stage
            self._draw = self._stack.enter_context(self._ui.bar(status.stage, self._units[status.stage]))
        self._draw(int(progress.done), int(progress.total / reported * status.total))
