"""The values that Ianvs's yaml files use."""

from __future__ import annotations

from enum import Enum


class ParadigmType(Enum):
    """The paradigms of Ianvs; this host runs the multi-edge one, KubeEdge Ianvs all of them."""

    SINGLE_TASK_LEARNING = "singletasklearning"
    INCREMENTAL_LEARNING = "incrementallearning"
    MULTIEDGE_INFERENCE = "multiedgeinference"
    LIFELONG_LEARNING = "lifelonglearning"
    FEDERATED_LEARNING = "federatedlearning"
    FEDERATED_CLASS_INCREMENTAL_LEARNING = "federatedclassincrementallearning"
    JOINT_INFERENCE = "jointinference"


class ModuleType(Enum):
    """The type of module that the multi-edge paradigm uses."""

    BASEMODEL = "basemodel"


class TestObjectType(Enum):
    """What a job can compare."""

    __test__ = False

    ALGORITHMS = "algorithms"
