"""Parts cut by hand: the partition points are in the fleet's file, and the paradigm checks and cuts them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from imagenet_bench.pipeline_model import PipelineModel


@ClassFactory.register(ClassType.GENERAL, alias="ManualPipeline")
class ManualPipeline(PipelineModel):
    """`fleet` names a file in devices/ that has partition points for the algorithm's model."""

    def __init__(self, fleet: str, strategy: str = "manual", **options: Any) -> None:
        super().__init__(fleet=fleet, strategy=strategy, **options)
