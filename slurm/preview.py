"""What would be sent to Slurm for a step, and what Slurm says of it, without submitting anything."""

import subprocess
from dataclasses import dataclass

from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.submission import make_executor, outside_of_a_job, script_text


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A step's script, and the last line of `sbatch --test-only`; "" where there is no Slurm here."""

    script: str
    answer: str
    is_accepted: bool


def preview(chain: Chain, step: Step, num_jobs: int, timeout_seconds: float = 30.0) -> Preview:
    """The script of a step's array of so many jobs, and Slurm's answer to it.

    That Slurm accepts a script does not say that it can ever run: only the queue's reason does.
    """
    parallel = min(num_jobs, step.resources.max_parallel or num_jobs)
    stage = chain.stage(step)
    try:
        executor = make_executor(stage, chain.profile, site=step.name, name=f"{step.name}-plan", parallel=parallel)
    except SlurmError as error:
        return Preview(script="", answer=str(error), is_accepted=False)
    script = script_text(executor, num_jobs)
    try:
        with outside_of_a_job():
            done = subprocess.run(
                ["sbatch", "--test-only"],
                input=script,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        return Preview(script=script, answer=str(error), is_accepted=False)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return Preview(script=script, answer=lines[-1] if lines else "", is_accepted=done.returncode == 0)
