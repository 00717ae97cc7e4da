"""choices.yaml: what may replace the models of a workflow, how accurate each is, and what devices cost.

    accuracy: {small: 0.81, large: 0.93}              of the models that workflow.yaml names
    variants:
      large:
        int8: {model: large.int8.onnx, accuracy: 0.92}
        lite: {model: lite.onnx, accuracy: 0.88}
    combinations:                                     of the whole workflow
      - {steps: {large: int8}, accuracy: 0.91}
    prices: {jetson: 0.10, pi: 0.02}                  per hour in use, in any currency

Accuracies are measured by whoever writes the file. A step without one makes no mistakes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multiedge.errors import ConfigError, did_you_mean
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field, Kind

KIND = Kind("file of choices")
OWN = "own"
"""The name of the variant that workflow.yaml names."""


@dataclass(frozen=True)
class VariantFile:
    """A model that may replace that of a step, and the share of right answers of the step with it."""

    model: Path
    accuracy: float = 1.0


@dataclass(frozen=True)
class Combination:
    """The accuracy of the whole workflow with these variants, by step; other steps run their own models."""

    variants: Mapping[str, str]
    accuracy: float


@dataclass(frozen=True)
class Choices:
    """What there is besides the workflow and the devices.

    Attributes:
        accuracy: Of the steps' own models, by name of the step.
        variants: By name of the step and of the variant.
        prices_per_h: By name of the device.
        combinations: What was measured of the whole workflow.
    """

    accuracy: Mapping[str, float] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, VariantFile]] = field(default_factory=dict)
    prices_per_h: Mapping[str, float] = field(default_factory=dict)
    combinations: tuple[Combination, ...] = ()

    @property
    def states_accuracy(self) -> bool:
        """Whether anything is said of accuracy."""
        files = [file for variants in self.variants.values() for file in variants.values()]
        return bool(self.accuracy or self.combinations) or any(file.accuracy < 1 for file in files)

    def require_steps(self, models: Mapping[str, object]) -> None:
        """ConfigError if a step is named that runs no model, or a combination names a variant that there is not."""
        named = [step for combination in self.combinations for step in combination.variants]
        for name in (*self.accuracy, *self.variants, *named):
            if name not in models:
                raise ConfigError(f"choices: no step '{name}' runs a model{did_you_mean(name, models)}")
        for combination in self.combinations:
            for step, variant in combination.variants.items():
                known = (OWN, *self.variants.get(step, ()))
                if variant not in known:
                    raise ConfigError(f"choices: step '{step}' has no variant '{variant}'{did_you_mean(variant, known)}")

    def measured_accuracy(self, steps: Iterable[str]) -> dict[tuple[str, ...], float]:
        """The accuracy of the whole workflow where it was measured, by the variants of these steps.

        Raises ConfigError for variants that are given twice.
        """
        names, found = tuple(steps), dict[tuple[str, ...], float]()
        for combination in self.combinations:
            variants = tuple(combination.variants.get(name, OWN) for name in names)
            if variants in found:
                shown = ", ".join(f"{step}: {variant}" for step, variant in combination.variants.items()) or f"all {OWN}"
                raise ConfigError(f"choices: combinations: {{{shown}}} is there twice; leave one of them out")
            found[variants] = combination.accuracy
        return found


def read_choices(path: str | os.PathLike[str]) -> Choices:
    """The choices in a file; models are relative to its folder.

    Raises ConfigError, one line with file, place, expectation and finding.
    """
    content = read_yaml(path, KIND).record(("accuracy", "variants", "combinations", "prices"))
    folder = Path(path).parent
    return Choices(
        accuracy=content["accuracy"].optional(lambda given: given.mapping_of(_share), {}),
        variants=content["variants"].optional(lambda given: given.mapping_of(lambda step: _variants(step, folder)), {}),
        prices_per_h=content["prices"].optional(lambda given: given.mapping_of(lambda price: price.number(0)), {}),
        combinations=content["combinations"].optional(lambda given: given.list_of(_combination), ()),
    )


def _variants(step: Field, folder: Path) -> dict[str, VariantFile]:
    if OWN in step:
        raise step[OWN].error(f"'{OWN}' is the variant that workflow.yaml names; give another name")
    return step.mapping_of(lambda variant: _variant(variant, folder))


def _variant(variant: Field, folder: Path) -> VariantFile:
    content = variant.record(("model", "accuracy"))
    return VariantFile(folder / content["model"].name(), content["accuracy"].optional(_share, 1.0))


def _combination(given: Field) -> Combination:
    content = given.record(("steps", "accuracy"))
    return Combination(content["steps"].mapping_of(Field.name), _share(content["accuracy"]))


def _share(given: Field) -> float:
    return given.number(0, 1)
