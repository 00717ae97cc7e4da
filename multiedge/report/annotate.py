"""A plan written into the model, so that viewers such as Netron show it.

Every node's `metadata_props` name its stage and device, and the model's the plan. From IR version 11 on, ONNX's device
configuration with a `pipeline_stage` for every node states the same. The new file holds the structure only and refers to
the existing weights. Runtimes load it as they load the model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, PlanError
from multiedge.files import write_bytes
from multiedge.plan import Plan

FIRST_IR_WITH_STAGES = 11
CONFIGURATION = "multiedge"


def annotate(model_path: str | os.PathLike[str], plan: Plan, out: str | os.PathLike[str]) -> Path:
    """Writes the model of `model_path` with `plan` in it to `out`, and returns that path.

    In the model's folder, `out` refers to the model's files and has a few KB. In another folder the files are copied: the
    format allows no path out of a model's folder, and ONNX's checker refuses links. Raises PlanError if the plan is
    of another model.
    """
    import onnx

    from multiedge.onnx_io.model_file import open_model

    source, target = Path(model_path), Path(out)
    if target.exists() and target.samefile(source):
        raise ConfigError(f"{out}: is the model itself, whose weights are still needed; write to another file")
    model = open_model(source)
    if plan.model_hash not in ("", model.model_hash):
        raise PlanError(f"{source}: the plan was made for another model ({plan.model}); plan this one first")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)  # the opened model is shared
    _label(proto, plan, str(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    _refer_from(target, proto, model.references)
    write_bytes(target, proto.SerializeToString())
    return target


def _label(proto: Any, plan: Plan, place: str) -> None:
    """Adds stage and device to every node, and the plan to the model."""
    stage_of = {node: number for number, stage in enumerate(plan.stages) for node in stage.nodes}
    if sorted(stage_of) != list(range(len(proto.graph.node))):
        raise PlanError(f"{place}: the plan places {len(stage_of)} nodes, the model has {len(proto.graph.node)}")
    for index, node in enumerate(proto.graph.node):
        _add(node, "multiedge.stage", str(stage_of[index] + 1))
        _add(node, "multiedge.device", plan.stages[stage_of[index]].device)
    _add(proto, "multiedge.strategy", plan.strategy)
    for number, stage in enumerate(plan.stages, start=1):
        ranges = ", ".join(f"[{start}, {stop})" for start, stop in stage.ranges)
        _add(proto, f"multiedge.stage_{number}", f"{stage.device}: nodes {ranges}")
    if proto.ir_version >= FIRST_IR_WITH_STAGES and hasattr(proto, "configuration"):
        _configure(proto, [stage.device for stage in plan.stages], stage_of)


def _add(entry: Any, key: str, value: str) -> None:
    """Sets one metadata property; that of an older plan is replaced."""
    for old in entry.metadata_props:
        if old.key == key:
            old.value = value
            return
    entry.metadata_props.add(key=key, value=value)


def _configure(proto: Any, devices: list[str], stage_of: Mapping[int, int]) -> None:
    names = list(dict.fromkeys(devices))
    for old in [entry for entry in proto.configuration if entry.name == CONFIGURATION]:
        proto.configuration.remove(old)
    proto.configuration.add(name=CONFIGURATION, num_devices=len(names), device=names)
    for index, node in enumerate(proto.graph.node):
        for old in [entry for entry in node.device_configurations if entry.configuration_id == CONFIGURATION]:
            node.device_configurations.remove(old)
        node.device_configurations.add(configuration_id=CONFIGURATION, pipeline_stage=stage_of[index])


def _refer_from(target: Path, proto: Any, references: Mapping[str, Any]) -> None:
    """Makes every external weight available in the target's folder, by its own name or as a copy."""
    from multiedge.onnx_io.weights import refer

    root = Path(os.path.realpath(target.parent))
    names: dict[Path, str] = {}
    for file in sorted({place.file for place in references.values()}):
        if root in file.parents:
            names[file] = file.relative_to(root).as_posix()
        else:
            names[file] = f"{target.stem}.weights_{len(names) + 1}"
            shutil.copyfile(file, root / names[file])
    for tensor in proto.graph.initializer:
        if tensor.name in references:
            place = references[tensor.name]
            refer(tensor, names[place.file], place.offset, place.length)
