"""Parts by a strategy, with a runtime and a precision for each device that are chosen with the placement."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from imagenet_bench.pipeline_model import PipelineModel
from imagenet_bench.variants import variant_parts


@ClassFactory.register(ClassType.GENERAL, alias="VariantPipeline")
class VariantPipeline(PipelineModel):
    """`variants` are what devices may use besides float32, BACKEND:PRECISION by commas; `max_accuracy_loss` is the share of
    right answers that the plan may lose on the pictures of the dataset."""

    def __init__(self, fleet: str, strategy: str, variants: str, max_accuracy_loss: float, **options: Any) -> None:
        super().__init__(fleet=fleet, strategy=strategy, **options)
        self.variants, self.limit = variants, float(max_accuracy_loss)
        self.configuration |= {"variants": variants, "max_accuracy_loss": self.limit}

    def partition(self, initial_model_url: str) -> tuple[str, Mapping[str, str]]:
        """The folder of the parts and the device of each; they are planned and converted in the first round."""
        model = Path(initial_model_url)
        index = model.parents[2] / "pictures" / "index.txt"
        manifest = variant_parts(model, Path(self.devices), index, self.strategy, self.limit, self.variants)
        return manifest.directory, manifest.map_info
