"""Training students: views in, prompts out.

The loop knows neither the learner, nor the objective, nor where targets come from, nor how many students it trains at
a time. Everything random follows from (seed, epoch), so a student that was stopped goes on from its last whole epoch as
if nothing had happened.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from fdbpl.pipeline.training.steps import make_steps
from fdbpl.pipeline.training.trainee import OnProgress, Trainee
from fdbpl.pipeline.training.view_stream import ViewStream

# A state is written at the end of an epoch, but not more often than this: short epochs cost no file each.
SECONDS_BETWEEN_STATES = 20.0


def train(trainees: Sequence[Trainee], on_progress: OnProgress | None = None) -> None:
    """Optimise the learners' prompts in place, as one batched program where there are several.

    A student whose loss is not finite is told of in its `failure`; the others go on.

    Args:
        trainees: one student, or several that `students.packs` puts together.
        on_progress: called with steps done and steps in all, of all students.
    """
    for trainee in trainees:
        trainee.resume()
    num_epochs = trainees[0].config.epochs
    total = num_epochs * len(trainees)
    # A stop between the files of two students leaves some of them epochs behind the others: those catch up first.
    for until in [*sorted({len(trainee.log.epochs) for trainee in trainees})[1:], num_epochs]:
        group = [trainee for trainee in trainees if len(trainee.log.epochs) < until and not trainee.failure]
        if not group:
            continue
        with Training(group, until=until) as training:
            saved_at = time.monotonic()
            for _ in training.epochs:
                training.epoch()
                if all(trainee.failure for trainee in group):
                    break
                if on_progress is not None:
                    done = sum(len(trainee.log.epochs) for trainee in trainees)
                    on_progress(done * training.steps_per_epoch, total * training.steps_per_epoch)
                if time.monotonic() - saved_at > SECONDS_BETWEEN_STATES:
                    saved_at = time.monotonic()
                    for trainee in group:
                        trainee.save()
    for trainee in trainees:
        trainee.end()


class Training(AbstractContextManager["Training"]):
    """Epochs of students that have done as many of them; use it within `with`."""

    def __init__(self, trainees: Sequence[Trainee], *, until: int | None = None) -> None:
        """Up to the epoch `until`, or to the last one."""
        first = trainees[0]
        stop = first.config.epochs if until is None else until
        self._trainees, self.epochs = trainees, range(len(first.log.epochs), stop)
        self._stream = ViewStream(
            [trainee.ingredients for trainee in trainees], batch_size=first.config.batch_size, epochs=self.epochs
        )
        self.steps_per_epoch = self._stream.steps_per_epoch
        self._steps = make_steps(trainees)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Bring no more views."""
        self._stream.close()

    def epoch(self) -> None:
        """One pass over the training images: each student's epoch is in its log."""
        started = time.monotonic()
        for trainee in self._trainees:
            trainee.begin_epoch()
        for views in self._stream.epoch():
            self._steps(views)
        # One look an epoch: a look a step would make the host wait for the device each time.
        means = self._steps.means()
        seconds = (time.monotonic() - started) / len(self._trainees)
        for trainee, own in zip(self._trainees, means, strict=True):
            trainee.end_epoch(own, steps=self.steps_per_epoch, seconds=seconds)
