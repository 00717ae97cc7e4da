"""Files as Ianvs's users write them: what registers itself, algorithms, test environments and jobs; all paths absolute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_REGISTERS = """\
from sedna.common.class_factory import ClassFactory, ClassType


@ClassFactory.register(ClassType.GENERAL, alias="{alias}")
{code}
"""

MODEL = """\
class Model:
    def __init__(self, **given):
        self.given = given

    def load(self, model_url):
        pass

    def predict(self, data, **kwargs):
        return list(data)
"""
"""A base model whose answer is its input."""


def user_file(path: Path, alias: str, code: str) -> Path:
    """A python file that registers the class or function in `code`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_REGISTERS.format(alias=alias, code=code), encoding="utf-8")
    return path


def yaml_file(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def metric_entry(folder: Path, name: str, body: str) -> dict[str, str]:
    """The entry of a metric whose function has this body, of `y_true` and `y_pred`."""
    path = user_file(folder / f"{name}.py", name, f"def compute(y_true, y_pred):\n    {body}\n")
    return {"name": name, "url": str(path)}


def algorithm_entry(folder: Path, name: str, code: str = MODEL, grid: Any = None, **keys: Any) -> dict[str, str]:
    """The entry of an algorithm with one base model of this code; `grid` are its hyperparameters."""
    module: dict[str, Any] = {"type": "basemodel", "name": "Model"}
    module["url"] = str(user_file(folder / name / "basemodel.py", "Model", code))
    if grid is not None:
        module["hyperparameters"] = grid
    content = {"paradigm_type": "multiedgeinference", "modules": [module], **keys}
    return {"name": name, "url": str(yaml_file(folder / name / "algorithm.yaml", {"algorithm": content}))}


def environment_file(folder: Path, *metrics: dict[str, str], **keys: Any) -> Path:
    """A test environment of two items, with the labels 3 and 7."""
    (folder / "index.txt").write_text("/nowhere/a.jpg 3\n/nowhere/b.jpg 7\n", encoding="utf-8")
    content = {"dataset": {"test_url": str(folder / "index.txt")}, "metrics": list(metrics), **keys}
    return yaml_file(folder / "testenv.yaml", {"testenv": content})


def job_file(folder: Path, algorithms: list[dict[str, str]], environment: Path, **keys: Any) -> Path:
    """A job named 'job' whose workspace is below `folder`."""
    content = {
        "name": "job",
        "workspace": str(folder / "workspace"),
        "testenv": str(environment),
        "test_object": {"type": "algorithms", "algorithms": algorithms},
        **keys,
    }
    return yaml_file(folder / "benchmarkingjob.yaml", {"benchmarkingjob": content})
