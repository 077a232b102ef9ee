"""What `fdbpl init` does: a preset as a config file, fitted to a data set where one is given, and the shipped models
beside it where the preset names them."""

from pathlib import Path
from typing import Any

from fdbpl.pipeline.presets.own_data import fit_to
from fdbpl.pipeline.presets.preset import preset_values, write_preset


def write_start(path: Path, preset: str, data: Path | None) -> dict[str, Any]:
    """Write the config; what was written and fitted, as JSON. Raises ValueError as `write_preset` and `fit_to`."""
    values = preset_values(preset)
    fitted: list[str] = []
    if data is not None:
        values, fitted = fit_to(values, data, path.parent)
    write_preset(path, preset, values)
    if data is not None and preset == "tiny":
        from fdbpl.pipeline.clip.tiny import unpack_tiny_checkpoints

        unpack_tiny_checkpoints(path.parent / "models")
        fitted.append(f"its two tiny CLIPs are in {path.parent / 'models'}: they show how it works, and know no photos")
    return {"config": str(path), "preset": preset, "data": None if data is None else str(data), "fitted": fitted}
