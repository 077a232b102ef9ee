"""A run from Python, cell by cell as in a notebook.

python examples/notebook.py play/fdbpl.toml
"""

import sys

from fdbpl.pipeline.library.run import Run

# %% What there is to do
run = Run(sys.argv[1], ["crops.seeds=2", "student.0.epochs=2", "student.1.epochs=2"], quiet=True)
print([step["step"] for step in run.plan()["steps"]])  # noqa: T201

# %% The teacher once, then students
results = run.whole()
for method in results["methods"]:
    print(f"{method['method']:28} {method['hm']:.1f}")  # noqa: T201

# %% What a student has learned of words that it never saw
learner = run.learner(run.students[-1])
print(learner.classifier(["pink elephant"])["classifier"].shape)  # noqa: T201

# %% The page
print(run.report())  # noqa: T201
