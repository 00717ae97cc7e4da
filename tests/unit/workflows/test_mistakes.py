"""Malformed workflows: each mistake is one message with its line, the finding and the remedy, and all are told together."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.errors import ConfigError, WorkflowError
from multiedge.workflows.reading import read_workflow
from tests.builders.workflows import written

HEAD = "inputs: {image: {dtype: float32, shape: [1, 8]}}\nsteps:\n"
"""Steps begin at line 3."""
SMALL = "  small: {model: small.onnx, inputs: {x: image}}\n"
GATED = "  large: {model: large.onnx, inputs: {x: image}, when: {tensor: small.probabilities, max: {below: 1}}}\n"
OUT = "outputs: {p: small.probabilities}\n"
FUNCTION = "{probabilities: {dtype: float32, shape: [1, 4]}}"


def step(text: str) -> str:
    """A workflow whose step `large` is the text, beside the step `small`."""
    return f"{HEAD}{SMALL}  large: {{{text}}}\noutputs: {{p: small.probabilities, q: large.probabilities}}\n"


MISTAKES = {
    "a key that is unknown": (
        f"step: {{}}\n{HEAD}{SMALL}{OUT}",
        ["1: step: unknown key; did you mean 'steps'?"],
    ),
    "no steps": (
        "inputs: {image: {dtype: float32, shape: [1, 8]}}\noutputs: {p: image}\n",
        ["1: steps: expected at least one entry, got none; add one such as 'small: {model: small.onnx, inputs: {x: image}}'"],
    ),
    "no inputs": (
        f"inputs: {{}}\nsteps:\n{SMALL}{OUT}",
        [
            "1: inputs: expected at least one entry, got none; add one such as"
            " 'image: {dtype: float32, shape: [1, 3, 224, 224]}'",
            "3: steps.small.inputs.x: no step or input 'image'; known: small",
        ],
    ),
    "no outputs": (
        HEAD + SMALL,
        ["1: outputs: expected at least one entry, got none; add one such as 'logits: small.logits'"],
    ),
    "a type that ONNX lacks": (
        f"inputs: {{image: {{dtype: float, shape: [1, 8]}}}}\nsteps:\n{SMALL}{OUT}",
        ["1: inputs.image.dtype: unknown value 'float'; did you mean 'float64'?"],
    ),
    "a size of 0": (
        f"inputs: {{image: {{dtype: float32, shape: [0, 8]}}}}\nsteps:\n{SMALL}{OUT}",
        ["1: inputs.image.shape[0]: expected a size from 1, or the name of a size that varies, got 0"],
    ),
    "a step without a kind": (
        step("inputs: {x: image}"),
        ["4: steps.large: expected one of model, plan, transform, deployment, first_of, got none of them; keep exactly one"],
    ),
    "a step of two kinds": (
        step("model: large.onnx, plan: parts, inputs: {x: image}"),
        ["4: steps.large: expected one of model, plan, transform, deployment, first_of, got model and plan; keep exactly one"],
    ),
    "a key of a step that is unknown": (
        step("model: large.onnx, input: {x: image}, inputs: {x: image}"),
        ["4: steps.large.input: unknown key; did you mean 'inputs'?"],
    ),
    "a key that has no effect on this kind of step": (
        step(f"transform: transforms.py:mean, inputs: {{first: image, second: image}}, batch: 4, outputs: {FUNCTION}"),
        ["4: steps.large.batch: has no effect on a step with 'transform'; leave it out"],
    ),
    "a name with a dot": (
        f"{HEAD}{SMALL}  my.step: {{model: large.onnx, inputs: {{x: image}}}}\n{OUT}",
        [
            "4: steps.my.step: expected a name of letters, digits, '_' and '-', got 'my.step'; rename it",
            "4: steps.my.step: no output depends on this step; read from it, or remove it",
        ],
    ),
    "a step with the name of an input": (
        f"{HEAD}{SMALL}  image: {{model: large.onnx, inputs: {{x: image}}}}\n{OUT}",
        [
            "4: steps.image: 'image' is the name of an input as well; rename one of them",
            "4: steps.image: no output depends on this step; read from it, or remove it",
        ],
    ),
    "a step that is not there": (
        step("model: large.onnx, inputs: {x: smal.probabilities}"),
        ["4: steps.large.inputs.x: no step or input 'smal'; did you mean 'small'?"],
    ),
    "an output that a model lacks": (
        step("model: recode.onnx, inputs: {p: small.probability}"),
        ["4: steps.large.inputs.p: 'small' has no output 'probability'; did you mean 'probabilities'?"],
    ),
    "one of several outputs that is not named": (
        f"{HEAD}  large: {{model: large.onnx, inputs: {{x: image}}}}\noutputs: {{p: large}}\n",
        ["4: outputs.p: 'large' has several outputs (probabilities, energy); write one such as 'large.probabilities'"],
    ),
    "an input of a model that nothing gives": (
        step("model: large.onnx, inputs: {y: image}"),
        [
            "4: steps.large.inputs.y: large.onnx has no input 'y'; known: x",
            "4: steps.large.inputs: nothing gives input 'x' of large.onnx, float32 [batch, 8]; add 'x: STEP.TENSOR'",
        ],
    ),
    "a model that is not there": (
        step("model: larger.onnx, inputs: {x: image}"),
        ["4: steps.large.model: */larger.onnx: no such model file (looked from *); did you mean 'large.onnx'?"],
    ),
    "a file that is no model": (
        step("model: transforms.py, inputs: {x: image}"),
        ["4: steps.large.model: */transforms.py: is no ONNX model, or a damaged one: *"],
    ),
    "a plan that is not there": (
        step("plan: parts, inputs: {x: image}"),
        ["4: steps.large.plan: */parts: holds no plan.json; make one with: multiedge plan MODEL --devices FILE -o */parts"],
    ),
    "another type than the model takes": (
        f"inputs: {{image: {{dtype: uint8, shape: [1, 8]}}}}\nsteps:\n{SMALL}{OUT}",
        ["3: steps.small.inputs.x: takes float32 [batch, 8], got uint8 [1, 8]; add 'cast: float32'"],
    ),
    "another shape than the model takes": (
        f"inputs: {{image: {{dtype: float32, shape: [8, 1]}}}}\nsteps:\n{SMALL}{OUT}",
        ["3: steps.small.inputs.x: takes float32 [batch, 8], got float32 [8, 1]; *"],
    ),
    "another rank than the model takes": (
        f"inputs: {{image: {{dtype: float32, shape: [2, 4]}}}}\nsteps:\n{SMALL}"
        "  crop: {model: detect.onnx, inputs: {image: image}}\noutputs: {p: crop.heat}\n",
        [
            "3: steps.small.inputs.x: takes float32 [batch, 8], got float32 [2, 4]; *",
            "4: steps.crop.inputs.image: takes float32 [1, 1, 16, 16], got float32 [2, 4]; add 'reshape: [1, 1, 16, 16]'",
        ],
    ),
    "a size that varies where the model takes one": (
        "inputs: {image: {dtype: float32, shape: [frames, 1, 16, 16]}}\nsteps:\n"
        "  detect: {model: detect.onnx, inputs: {image: image}}\noutputs: {p: detect.heat}\n",
        [
            "3: steps.detect.inputs.image: takes float32 [1, 1, 16, 16], got float32 [frames, 1, 16, 16], whose size 'frames'"
            " varies; export the model with axis 0 open"
        ],
    ),
    "an adapter that is unknown": (
        step("model: large.onnx, inputs: {x: {from: image, scale: 2}}"),
        ["4: steps.large.inputs.x: unknown key 'scale'; *"],
    ),
    "an adapter that does not fit the tensor": (
        step("model: large.onnx, inputs: {x: {from: image, resize: [4, 4]}}"),
        [
            "4: steps.large.inputs.x: resize: expected images as [n, channels, height, width], got [1, 8];"
            " put a reshape before it"
        ],
    ),
    "a cast without effect": (
        step("model: large.onnx, inputs: {x: {from: image, cast: float32}}"),
        ["4: steps.large.inputs.x: cast: the tensor is float32 already; leave the cast out"],
    ),
    "a condition without a measure": (
        step("model: large.onnx, inputs: {x: image}, when: {tensor: small.probabilities}"),
        ["4: steps.large.when: expected one of max, min, value, count, got none; write 'max: {below: 0.7}'"],
    ),
    "a condition of an unknown relation": (
        step("model: large.onnx, inputs: {x: image}, when: {tensor: small.probabilities, max: {under: 0.7}}"),
        ["4: steps.large.when.max.under: unknown value 'under'; known: at_least, below, equals"],
    ),
    "a condition on the only value of several": (
        step("model: large.onnx, inputs: {x: image}, when: {tensor: small.probabilities, value: {below: 0.7}}"),
        ["4: steps.large.when.value: expected a tensor of one value, got [1, 4]; use max, min or count"],
    ),
    "a rate above 1": (
        step("model: large.onnx, inputs: {x: image}, when: {tensor: small.probabilities, max: {below: 0.7}}, rate: 30"),
        ["4: steps.large.rate: expected a finite number from 0 to 1, got 30"],
    ),
    "a rate without a condition": (
        step("model: large.onnx, inputs: {x: image}, rate: 0.3"),
        ["4: steps.large.rate: has no effect without a condition; add 'when', or leave rate out"],
    ),
    "a batch of 0": (
        step("model: large.onnx, inputs: {x: image}, batch: 0"),
        ["4: steps.large.batch: expected a whole number from 1, got 0"],
    ),
    "a time-out without a batch": (
        step("model: large.onnx, inputs: {x: image}, timeout_ms: 5"),
        ["4: steps.large.timeout_ms: has no effect without a batch; add 'batch: 4', or leave timeout_ms out"],
    ),
    "a batch of a model that takes one item": (
        "inputs: {image: {dtype: float32, shape: [1, 1, 16, 16]}}\nsteps:\n"
        "  detect: {model: detect.onnx, inputs: {image: image}, batch: 4}\noutputs: {p: detect.heat}\n",
        ["3: steps.detect.batch: detect.onnx takes one item at a time; export it with an open first dimension"],
    ),
    "a join of one": (
        f"{HEAD}{SMALL}  pick: {{first_of: [small.probabilities]}}\noutputs: {{p: pick}}\n",
        ["4: steps.pick.first_of: expected a list of at least 2 entries, got a list of 1"],
    ),
    "a join whose first candidate is always there": (
        f"{HEAD}{SMALL}  large: {{model: large.onnx, inputs: {{x: image}}}}\n"
        "  pick: {first_of: [small.probabilities, large.probabilities]}\noutputs: {p: pick}\n",
        ["5: steps.pick.first_of[0]: is there for every item, so that later candidates have no effect; name it last"],
    ),
    "a join of different shapes": (
        f"{HEAD}{SMALL}{GATED}  pick: {{first_of: [large.energy, small.probabilities]}}\noutputs: {{p: pick}}\n",
        [
            "5: steps.pick.first_of[1]: is float32 [1, 4], and the first candidate float32 [1]; all candidates need one type"
            " and shape: change one by a transform"
        ],
    ),
    "a join with inputs": (
        f"{HEAD}{SMALL}{GATED}"
        "  pick: {first_of: [large.probabilities, small.probabilities], inputs: {x: image}}\noutputs: {p: pick}\n",
        ["5: steps.pick.inputs: has no effect on a step with 'first_of'; leave it out"],
    ),
    "steps on a circle": (
        f"{HEAD}  small: {{model: small.onnx, inputs: {{x: layers.y}}}}\n"
        "  layers: {model: layers.onnx, inputs: {x: recode.code}}\n"
        "  recode: {model: recode.onnx, inputs: {p: small.probabilities}}\noutputs: {p: small.probabilities}\n",
        ["3: steps.small: reads what is made of its own result: small -> layers -> recode -> small; remove one of these edges"],
    ),
    "a function whose place is not understood": (
        step(f"transform: mean, inputs: {{first: image}}, outputs: {FUNCTION}"),
        ["4: steps.large.transform: expected 'package.module:function' or 'file.py:function', got 'mean'"],
    ),
    "a function that its file lacks": (
        step(f"transform: transforms.py:means, inputs: {{first: image}}, outputs: {FUNCTION}"),
        ["4: steps.large.transform: transforms.py has no function 'means'; did you mean 'mean'?"],
    ),
    "a module that is not installed": (
        step(f"transform: no_such_module:mean, inputs: {{first: image}}, outputs: {FUNCTION}"),
        ["4: steps.large.transform: no module 'no_such_module' is installed; install its package, or give 'file.py:function'"],
    ),
    "an argument that a function lacks": (
        step(f"transform: transforms.py:mean, inputs: {{first: image, third: image}}, outputs: {FUNCTION}"),
        ["4: steps.large.transform: mean() has no argument 'third'; known: first, second, weight"],
    ),
    "an argument that nothing gives": (
        step(f"transform: transforms.py:mean, inputs: {{first: image}}, outputs: {FUNCTION}"),
        ["4: steps.large.transform: mean() needs 'second', which is no input and no option; add it to one of them"],
    ),
    "a function whose outputs are not declared": (
        step("transform: transforms.py:mean, inputs: {first: image, second: image}"),
        [
            "4: steps.large.outputs: expected at least one entry, got none; add one such as"
            " 'image: {dtype: float32, shape: [1, 3, 224, 224]}'"
        ],
    ),
    "a size that varies without a mean": (
        step(
            "transform: transforms.py:mean, inputs: {first: image, second: image},"
            " outputs: {probabilities: {dtype: float32, shape: [rows, 4]}}"
        ),
        [
            "4: steps.large.outputs.probabilities.shape: the size 'rows' varies, and 'sizes' has no mean of it; add"
            " 'sizes: {rows: 3}'"
        ],
    ),
    "a mean of a size that no shape has": (
        f"{HEAD}{SMALL}{OUT}sizes: {{boxes: 3}}\n",
        ["5: sizes.boxes: no shape has a size 'boxes'; remove it"],
    ),
    "a deployment that is no address": (
        step(f"deployment: resnet, inputs: {{x: image}}, outputs: {FUNCTION}"),
        [
            "4: steps.large.deployment: expected the URL of a server and the name of a model, such as"
            " http://host:8000/resnet, got 'resnet'"
        ],
    ),
    "a step that nothing reads": (
        f"{HEAD}{SMALL}  large: {{model: large.onnx, inputs: {{x: image}}}}\n{OUT}",
        ["4: steps.large: no output depends on this step; read from it, or remove it"],
    ),
    "an input that nothing reads": (
        f"inputs:\n  image: {{dtype: float32, shape: [1, 8]}}\n  mask: {{dtype: float32, shape: [1]}}\nsteps:\n{SMALL}{OUT}",
        ["3: inputs.mask: no output depends on this input; read it, or remove it"],
    ),
    "an output with the name of an input": (
        f"{HEAD}{SMALL}outputs: {{image: small.probabilities}}\n",
        ["4: outputs.image: 'image' is the name of an input as well; rename the output"],
    ),
}


def matches(text: str, pattern: str) -> bool:
    """Whether the text is the pattern, in which each '*' stands for anything."""
    import re

    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_its_line_and_the_remedy(name: str, tmp_path: Path) -> None:
    text, expected = MISTAKES[name]
    path = written(tmp_path, text)
    with pytest.raises(WorkflowError) as caught:
        read_workflow(path)
    found = [each.removeprefix(f"{path}:") for each in caught.value.mistakes]
    assert len(found) == len(expected), found
    for each, pattern in zip(found, expected, strict=True):
        assert matches(each, pattern), found


def test_another_kind_of_file_is_one_error(tmp_path: Path) -> None:
    path = written(tmp_path, "devices: [{name: phone, memory: 1GiB}]\n")
    with pytest.raises(ConfigError, match=rf"^{path}:1: is no workflow file; expected a mapping of name, inputs, steps and"):
        read_workflow(path)


def test_all_mistakes_are_told_together_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = (
        "inputs:\n  image: {dtype: float, shape: [1, 8]}\n  bytes: {dtype: uint8, shape: [1, 8]}\nsteps:\n"
        "  small: {model: small.onnx, inputs: {x: bytes}}\n"
        "  large: {model: larger.onnx, inputs: {x: image}, batch: 0}\n"
        "  pick: {first_of: [large.probabilities, smal.probabilities]}\n"
        "outputs: {p: pic}\n"
    )
    with pytest.raises(WorkflowError) as caught:
        read_workflow(written(tmp_path, text))
    lines = [int(each.removeprefix(str(tmp_path / "workflow.yaml")).split(":")[1]) for each in caught.value.mistakes]
    assert lines == sorted(lines)
    assert set(lines) == {2, 5, 6, 7, 8}
    assert caught.value.lines == caught.value.mistakes
