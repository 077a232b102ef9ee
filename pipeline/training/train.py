"""Training students: views in, prompts out.

The loop knows neither the learner, nor the objective, nor where targets come from, nor how many students it trains at
a time. Everything random follows from (seed, epoch), so a student that was stopped goes on from its last whole epoch as
if nothing had happened.
"""

import time
from collections.abc import Callable, Sequence
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
    total = sum(trainee.config.epochs * trainee.steps_per_epoch for trainee in trainees)

    def tell() -> None:
        if on_progress is not None:
            on_progress(sum(trainee.log.steps for trainee in trainees), total)

    # Few-shot subsets that were given may differ in size: only students with as many views a step share steps.
    for num_images in dict.fromkeys(len(trainee.ingredients.training) for trainee in trainees):
        _train_alike([trainee for trainee in trainees if len(trainee.ingredients.training) == num_images], tell)
    for trainee in trainees:
        trainee.end()


def _train_alike(trainees: Sequence[Trainee], tell: Callable[[], None]) -> None:
    """Train students of as many images each to their last epoch; `tell` is called after every epoch."""
    # A stop between the files of two students leaves some of them epochs behind the others: those catch up first.
    epochs_done = sorted({len(trainee.log.epochs) for trainee in trainees})
    for until in [*epochs_done[1:], trainees[0].config.epochs]:
        group = [trainee for trainee in trainees if len(trainee.log.epochs) < until and not trainee.failure]
        if group:
            _train_until(until, group, tell)


def _train_until(until: int, group: Sequence[Trainee], tell: Callable[[], None]) -> None:
    """Train students that have done as many epochs up to that one, or until all have failed."""
    with Training(group, until=until) as training:
        saved_at = time.monotonic()
        for _ in training.epochs:
            training.epoch()
            if all(trainee.failure for trainee in group):
                break
            tell()
            if time.monotonic() - saved_at > SECONDS_BETWEEN_STATES:
                saved_at = time.monotonic()
                for trainee in group:
                    trainee.save()


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

    def steps(self) -> None:
        """The steps of the next epoch: nothing in them waits for the device."""
        for views in self._stream.epoch():
            self._steps(views)

    def epoch(self) -> None:
        """One pass over the training images: each student's epoch is in its log."""
        started = time.monotonic()
        for trainee in self._trainees:
            trainee.begin_epoch()
        self.steps()
        # One look an epoch: a look a step would make the host wait for the device each time.
        means = self._steps.means()
        seconds = (time.monotonic() - started) / len(self._trainees)
        for trainee, own in zip(self._trainees, means, strict=True):
            trainee.end_epoch(own, steps=self.steps_per_epoch, seconds=seconds)
