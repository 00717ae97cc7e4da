"""A minimal stand-in for a checkout of KubeEdge Ianvs: the modules that its multi-edge paradigm meets, and a command.

Written for the tests against what Ianvs promises a paradigm: `ParadigmBase(workspace, **kwargs)` with `modules`,
`dataset` and `module_instances`; a test environment's and an algorithm's fields as keyword arguments, and no others.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from textwrap import dedent

PARADIGM = "core/testcasecontroller/algorithm/paradigm"
OLD_RESULT = "the paradigm that came with Ianvs"

FILES = {
    "setup.py": """
        from setuptools import find_packages, setup
        setup(name="ianvs", version="0.3.0", packages=find_packages(),
              entry_points={"console_scripts": ["ianvs = core.cmd.benchmarking:main"]})
    """,
    "core/__init__.py": "",
    "core/cmd/__init__.py": "",
    "core/cmd/benchmarking.py": """
        import os
        import sys
        import numpy as np
        from core.testcasecontroller.algorithm.paradigm import MultiedgeInference

        class Samples:
            def __init__(self, x):
                self.x = np.array(x)

        class Dataset:
            train_url = test_url = "index"
            def load_data(self, file, data_type, label=None, use_raw=False, feature_process=None):
                names = sorted(name for name in os.listdir("dataset") if name.endswith("npy"))
                return Samples([os.path.abspath(f"dataset/{name}") for name in names])

        class Module:
            type, name, url = "basemodel", "BaseModel", ""
            hyperparameters = {"strategy": "manual", "devices": "devices.yaml"}
            def get_module_instance(self, module_type):
                sys.path.insert(0, os.getcwd())
                from basemodel import BaseModel
                return BaseModel(**self.hyperparameters)

        def main():
            if sys.argv[1:2] == ["-f"]:
                from core.cmd.job import run
                return run(sys.argv[2])
            config = {"name": "a", "paradigm_type": "multiedgeinference", "initial_model_url": "model.onnx", "metrics": []}
            flow = MultiedgeInference("workspace", dataset=Dataset(), modules={"basemodel": Module()}, **config)
            result, system = flow.run()
            print(result)

        if __name__ == "__main__":
            main()
    """,
    "core/cmd/job.py": """
        import yaml
        from core.storymanager.rank.rank import Rank
        from core.testcasecontroller.testcase.testcase import TestCase

        def read(path):
            with open(path) as file:
                (section,) = yaml.safe_load(file).values()
            return section

        def run(path):
            job = read(path)
            env = read(job["testenv"])
            cases = []
            for entry in job["test_object"]["algorithms"]:
                cases.append(TestCase(env, entry["name"], read(entry["url"])))
            rows = []
            for case in cases:
                try:
                    rows.append((case.algorithm.name, case.run(job["workspace"])))
                except Exception as err:
                    raise RuntimeError(f"testcase runs failed, error: {err}") from err
            rank = Rank(rows)
            rank.save()
            rank.plot()
    """,
    "core/storymanager/__init__.py": "",
    "core/storymanager/rank/__init__.py": "",
    "core/storymanager/rank/rank.py": """
        class Rank:
            def __init__(self, rows):
                self.rows = rows
            def save(self):
                with open("all_rank.csv", "w") as file:
                    file.writelines(f"{name},{','.join(map(str, values.values()))}\\n" for name, values in self.rows)
            def plot(self):
                print(open("all_rank.csv").read())
    """,
    "core/testcasecontroller/testcase/__init__.py": "",
    "core/testcasecontroller/testcase/testcase.py": """
        import importlib
        import os
        import sys

        def load(url, name):
            from sedna.common.class_factory import ClassFactory, ClassType
            folder, file = os.path.split(url)
            sys.path.insert(0, folder)
            importlib.import_module(file.split(".")[0])
            sys.path.pop(0)
            return ClassFactory.get_cls(ClassType.GENERAL, name)

        class Samples:
            def __init__(self, x, y):
                self.x, self.y = x, y

        class Dataset:
            label = None
            def __init__(self, content):
                self.train_url, self.test_url = content["train_index"], content["test_index"]
            def load_data(self, file, data_type, label=None, use_raw=False, feature_process=None):
                with open(file) as lines:
                    rows = [line.split() for line in lines]
                return Samples([os.path.join(os.path.dirname(file), row[0]) for row in rows], [row[1] for row in rows])

        class Module:
            hyperparameters = {}
            def __init__(self, content):
                self.type, self.name, self.url = content["type"], content["name"], content["url"]
            def get_module_instance(self, module_type):
                return load(self.url, self.name)(**self.hyperparameters)

        class Algorithm:
            def __init__(self, name, content):
                self.name, self.paradigm_type = name, content["paradigm_type"]
                self.initial_model_url = content["initial_model_url"]
                self.modules = {module["type"]: Module(module) for module in content["modules"]}

        class TestEnv:
            def __init__(self, content):
                self.__dict__.update(content)
                self.dataset = Dataset(content["dataset"])

        class TestCase:
            def __init__(self, env, name, content):
                self.test_env, self.algorithm = TestEnv(env), Algorithm(name, content)
            def run(self, workspace):
                from core.testcasecontroller.algorithm.paradigm import MultiedgeInference
                try:
                    config = {**vars(self.test_env), **vars(self.algorithm)}
                    result, _ = MultiedgeInference(os.path.join(workspace, self.algorithm.name), **config).run()
                    truth = self.test_env.dataset.load_data(self.test_env.dataset.test_url, "eval overall").y
                    metrics = self.test_env.metrics
                    return {metric["name"]: load(metric["url"], metric["name"])(truth, result) for metric in metrics}
                except Exception as err:
                    raise RuntimeError(f"pipeline runs failed, error: {err}") from err
    """,
    "core/common/__init__.py": "",
    "core/common/log.py": """
        import logging
        LOGGER = logging.getLogger("ianvs")
    """,
    "core/common/constant.py": """
        from enum import Enum
        class ParadigmType(Enum):
            MULTIEDGE_INFERENCE = "multiedgeinference"
    """,
    "core/testcasecontroller/__init__.py": "",
    "core/testcasecontroller/algorithm/__init__.py": "",
    f"{PARADIGM}/__init__.py": "from .multiedge_inference import MultiedgeInference\n",
    f"{PARADIGM}/base.py": """
        import os
        class ParadigmBase:
            def __init__(self, workspace, **kwargs):
                self.modules = kwargs.get("modules")
                self.dataset = kwargs.get("dataset")
                self.workspace = workspace
                self.system_metric_info = {}
                self.module_instances = {kind: module.get_module_instance(kind) for kind, module in self.modules.items()}
                os.environ["LOCAL_TEST"] = "TRUE"
    """,
    f"{PARADIGM}/multiedge_inference/__init__.py": "from .multiedge_inference import MultiedgeInference\n",
    f"{PARADIGM}/multiedge_inference/multiedge_inference.py": f"""
        from core.testcasecontroller.algorithm.paradigm.base import ParadigmBase
        class MultiedgeInference(ParadigmBase):
            def run(self):
                return "{OLD_RESULT}", {{}}
    """,
}


def write(folder: Path) -> Path:
    """Writes the stand-in into `folder`, which then looks like a checkout."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return folder


def write_egg(path: Path) -> Path:
    """Writes the stand-in's packages into a packed egg, as `python setup.py install` of an older setuptools does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as egg:
        for name, text in FILES.items():
            if name.startswith("core/"):
                egg.writestr(name, dedent(text).lstrip("\n"))
        egg.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 2.1\nName: ianvs\nVersion: 0.3.0\n")
    return path


def write_command(folder: Path, body: str = "from core.cmd.benchmarking import main", python: str = sys.executable) -> Path:
    """Writes a command `ianvs` as pip does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ianvs"
    path.write_text(f"#!{python}\nimport sys\n{body}\nsys.exit(main())\n", encoding="utf-8")
    path.chmod(0o755)
    return path
