"""What an exit code tells a script."""

COMPLETE = 0
FOUND_SOMETHING = 1
WRONG_INPUT = 2
RUNNING = 3
TASKS_FAILED = 4
STOPPED = 75  # by a signal: run the same command to go on
