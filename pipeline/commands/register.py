"""Every command of the program in its panel of the help, each with its examples."""

import typer

from fdbpl.pipeline.commands.begin import demo, doctor, init
from fdbpl.pipeline.commands.bench import bench_app
from fdbpl.pipeline.commands.cache import cache_app
from fdbpl.pipeline.commands.data import data_app
from fdbpl.pipeline.commands.examples import EXAMPLES
from fdbpl.pipeline.commands.inspection import inspect_app
from fdbpl.pipeline.commands.protocol import protocol
from fdbpl.pipeline.commands.report import report
from fdbpl.pipeline.commands.reproduce import reproduce_app
from fdbpl.pipeline.commands.run import cancel, logs, plan, retry, runs, show_script, status, submit
from fdbpl.pipeline.commands.steps import evaluate, features, teach, train
from fdbpl.pipeline.commands.use import export, import_prompts, predict
from fdbpl.pipeline.commands.world import world_app

PANELS = {
    "Begin": (demo, doctor, init),
    "A run": (plan, submit, status, logs, retry, cancel, runs, show_script),
    "Its steps, one by one": (teach, features, train, evaluate),
    "Results": (report,),
    "Trained prompts": (export, predict, import_prompts),
    "Over many data sets": (protocol,),
}
GROUPS = {
    "inspect": inspect_app,
    "cache": cache_app,
    "data": data_app,
    "bench": bench_app,
    "reproduce": reproduce_app,
    "world": world_app,
}


def register(app: typer.Typer) -> None:
    """Add all commands to the program."""
    for panel, commands in PANELS.items():
        for command in commands:
            name = command.__name__.replace("_", "-")
            app.command(name=name, rich_help_panel=panel, epilog=epilog(name))(command)
    for group, group_app in GROUPS.items():
        for info in group_app.registered_commands:
            name = info.name or info.callback.__name__.replace("_", "-")  # type: ignore[union-attr]  # all are functions
            info.epilog = epilog(f"{group} {name}")
        app.add_typer(group_app, name=group, rich_help_panel="Tools")


def epilog(name: str) -> str:
    """The examples as the last lines of a command's help."""
    return "Examples:\n\n" + "\n\n".join(EXAMPLES[name])
