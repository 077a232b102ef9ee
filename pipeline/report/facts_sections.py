"""The facts beside the numbers: what the store holds, and with which code, versions and config the run was made."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from fdbpl.pipeline.pages.page import Section, facts, folded, paragraphs
from fdbpl.pipeline.pages.tables import table
from fdbpl.pipeline.presets.preset import render
from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.report.result_tables import Table
from fdbpl.pipeline.versions import PACKAGES, code_revision, installed

_NO_STORE = "There is no store yet"


def store_section(run: Gathered) -> Section:
    """Size, shape, seals and manifest of the store."""
    store = run.store
    if not store:
        return Section(name="store", title="The store", body=(paragraphs(f"{_NO_STORE}: {run.store_error}"),))
    bounds = [(f"{encoding} labels", words) for encoding, words in store["labels"].items()]
    pairs = [
        ("path", store["store"]),
        ("fingerprint", store["fingerprint"]),
        ("views", f"{store['images']:,} images x {store['seeds']} crop seeds"),
        ("on disk", f"{store['bytes_on_disk'] / 1e6:,.1f} MB, {store['bytes_per_view']:,} bytes a view"),
        ("images left out", f"{len(store['excluded']):,}"),
        ("class lists", ", ".join(f"{name} ({number} classes)" for name, number in store["class_lists"].items())),
        *bounds,
        ("image files", f"tied to their {'bytes, by sha256' if run.config.data.digests else 'paths and sizes'}"),
    ]
    titles, rows = store_table(run)
    manifest = folded("the manifest: all that a label depends on", _pretty(store["manifest"]))
    body = (
        facts([(name, value) for name, value in pairs if value]),
        table("store", titles, rows, numeric=range(1, len(titles) - 1)),
        table("encodings", *encodings_table(run), numeric=(2, 3, 4)),
        manifest,
    )
    return Section(name="store", title="The store", body=body, note="What the teacher said once, for every student.")


def store_table(run: Gathered) -> Table:
    """A row for each campaign."""
    titles = ("campaign", "images", "seeds", "blocks", "MB", "state")
    rows = [
        (
            name,
            f"{one['images']:,}",
            one["seeds"],
            f"{one['blocks_present']} of {one['blocks']}",
            f"{one['bytes'] / 1e6:,.1f}",
            ("sealed" if one["sealed"] else "not sealed")
            + (f", {len(one['withdrawn'])} withdrawn" if one["withdrawn"] else ""),
        )
        for name, one in run.store.get("campaigns", {}).items()
    ]
    return titles, rows


def encodings_table(run: Gathered) -> Table:
    """A row for each array of the store."""
    titles = ("array", "type", "shape", "bytes a view", "GB a million views")
    rows = [
        (
            one["name"],
            one["dtype"],
            " x ".join(str(length) for length in one["shape"]),
            f"{one['bytes_per_view']:,}",
            f"{one['gb_per_million_views']:.3f}",
        )
        for one in run.store.get("arrays", ())
    ]
    return titles, rows


def environment_section(run: Gathered) -> Section:
    """Who ran it, with what, where."""
    body: list[Markup] = []
    if run.submissions:
        last = run.submissions[-1]
        pairs = [
            ("command", last["command"]),
            ("submitted", f"{last['time']} by {last['user']} on {last['host']}, {last['backend']}"),
            ("code", last["code"] or "an installed package"),
            ("Python", last["python"]),
            *last["versions"].items(),
        ]
        body.append(facts(pairs))
        if len(run.submissions) > 1:
            rows = [(one["time"], one["command"], one["backend"], (one["code"] or "-")[:12]) for one in run.submissions]
            body.append(table("submissions", ("submitted", "command", "where", "code"), rows, numeric=()))
    else:
        body.append(paragraphs("It was not submitted as a whole: its steps were run one by one."))
    now = [("code", code_revision() or "an installed package"), *installed(PACKAGES).items()]
    body.append(facts([("this page", "was made with"), *now]))
    tasks = [task for stage in run.stages for task in stage.tasks]
    if tasks:
        ran = [("tasks ran on", _counted(task.host for task in tasks))]
        devices = _counted(task.device for task in tasks if task.device)
        body.append(facts([*ran, *([("computed by", devices)] if devices else [])]))
    body.append(folded("the config", render(run.config, "its own copy of the config")))
    return Section(name="environment", title="How it was made", body=tuple(body))


def _counted(names: Iterable[str]) -> str:
    """Each name with how often it is there."""
    return ", ".join(f"{name} ({number} tasks)" for name, number in sorted(Counter(names).items()))


def _pretty(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False)
