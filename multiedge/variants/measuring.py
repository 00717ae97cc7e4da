"""What a mix of variants costs in right answers: the parts of its plan, run on the items in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from multiedge.backends.boundaries import Ran, keep_boundaries, run_stages
from multiedge.backends.contract import Session, Tensors
from multiedge.backends.stages import device_backend, open_part, openable
from multiedge.files import temporary_folder
from multiedge.onnx_io import write_parts
from multiedge.plan import Manifest, MeasuredAccuracy
from multiedge.variants.answers import Judge
from multiedge.variants.costs import Variant, with_variants
from multiedge.variants.task import Task, Tried


@dataclass
class Measuring:
    """Parts that were written to be measured, in `folder`, and what answers are measured against."""

    task: Task
    folder: Path
    _written: dict[int, Manifest] = field(default_factory=dict)
    _known: dict[int, MeasuredAccuracy] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def of(cls, task: Task) -> Iterator[Measuring]:
        """A Measuring whose folder is removed when the block ends."""
        with temporary_folder("variants-") as folder:
            yield cls(task, folder)

    def measured(self, tried: Tried) -> Tried:
        """The plan with what its variants cost."""
        return replace(tried, plan=replace(tried.plan, accuracy=self._accuracy(tried, tried.variants)))

    def loss_of(self, tried: Tried, variants: Mapping[str, Variant]) -> float:
        """The share of answers that the parts of a plan lose with other variants."""
        return self._accuracy(tried, variants).loss

    def _accuracy(self, tried: Tried, variants: Mapping[str, Variant]) -> MeasuredAccuracy:
        """That of the worst path, measured once. What stages get in the reference backend calibrates them."""
        key = hash((tried.plan.stages, tried.plan.transfers, tuple(sorted(variants.items()))))
        if key not in self._known:
            self._known[key] = self._measured(tried, variants)
        return self._known[key]

    def _measured(self, tried: Tried, variants: Mapping[str, Variant]) -> MeasuredAccuracy:
        manifest = self._parts(tried)
        results = []
        for path in range(len(manifest.taken)):
            reference = run_stages(manifest, self.task.items, path=path)
            judge = Judge.of(reference.outputs, self.task.labels, self.task.limit)
            results.append(judge.measured(self._outputs(manifest, reference, variants, path)))
        return max(results, key=lambda each: each.loss)

    def _outputs(self, manifest: Manifest, reference: Ran, variants: Mapping[str, Variant], path: int) -> tuple[Tensors, ...]:
        keep = self.folder / "converted"
        keep_boundaries(manifest, reference, self.task.labels, keep)
        fleet = with_variants(self.task.fleet, variants)

        def opened(stage: int) -> Session:
            part = manifest.parts[stage]
            device = fleet.device(part.device)
            return open_part(device_backend(device), Path(manifest.directory) / part.file, device, keep)

        return run_stages(manifest, self.task.items, opened, path).outputs

    def _parts(self, tried: Tried) -> Manifest:
        """The parts of the plan, written once."""
        key = hash((tried.plan.stages, tried.plan.transfers))
        if key not in self._written:
            folder = self.folder / f"parts-{len(self._written)}"
            self._written[key] = write_parts(self.task.graph, tried.plan, folder)
        return self._written[key]


def converted_parts(task: Task, tried: Tried, manifest: Manifest) -> None:
    """Keeps beside the parts what calibrates them and converts them, so that whoever opens them gets what was measured."""
    fleet = with_variants(task.fleet, tried.variants)
    for path in range(len(manifest.taken)):
        keep_boundaries(manifest, run_stages(manifest, task.items, path=path), task.labels)
    for part in manifest.parts:
        for name in part.devices:
            openable(device_backend(fleet.device(name)), Path(manifest.directory) / part.file)
