from pathlib import Path

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet
from multiedge.onnx_io import read_graph
from multiedge.plan import CALLER
from multiedge.run import profile_model
from multiedge.workflows import compose, read_workflow
from multiedge.workflows.optimiser.choices import Choices, Combination, VariantFile, read_choices
from multiedge.workflows.optimiser.configuration import Choice, Configuration
from multiedge.workflows.optimiser.costs import Costed, costed
from multiedge.workflows.optimiser.problem import Demand
from multiedge.workflows.optimiser.ways import steps_before
from multiedge.workflows.optimiser.written import PLAN, WORKFLOW, write_chosen
from tests.builders import workflows

FLEET = Fleet((Device("fast", speed=1.0), Device("slow", speed=0.25)))


def profiler(graph, fleet):
    return profile_model(graph, fleet, reference="declared")


def costed_of(path: Path, choices: Choices = Choices(), **values) -> Costed:  # noqa: B008
    composed = read_graph(compose(path, path.parent / "cache"))
    return costed(read_workflow(path), composed, FLEET, choices, Demand(10.0, 1.0), (1, 4), profiler, **values)


def test_each_step_has_its_rate_its_times_and_its_batches(tmp_path) -> None:
    problem = costed_of(workflows.cascade(tmp_path)).problem
    small, large = problem.steps
    assert (small.name, large.name) == ("small", "large")
    assert (small.rate, large.rate) == (1.0, pytest.approx(0.3, abs=0.04))
    for step in problem.steps:
        seconds = step.variants[0].seconds
        assert seconds.keys() == {(kind, batch) for kind in ("fast", "slow") for batch in (1, 4)}
        assert seconds["slow", 4] == pytest.approx(4 * seconds["fast", 4])
        assert seconds["fast", 1] < seconds["fast", 4] <= 4.001 * seconds["fast", 1]


def test_a_conditional_step_takes_its_whole_time_when_it_computes(tmp_path) -> None:
    path = workflows.cascade(tmp_path)
    path.write_text(path.read_text().replace("rate: 0.3", "rate: 0.01"))
    rare = costed_of(path).problem
    path.write_text(path.read_text().replace("rate: 0.01", "rate: 1"))
    always = costed_of(path).problem
    assert rare.steps[1].variants[0].seconds == pytest.approx(always.steps[1].variants[0].seconds)


def test_joins_belong_to_those_that_read_them_and_ways_end_where_few_items_go_on(tmp_path) -> None:
    path = workflows.cascade(tmp_path)
    assert steps_before(read_workflow(path).workflow) == {"small": (), "large": ("small",)}
    assert costed_of(path).problem.ways == ((0, 1),)
    path.write_text(path.read_text().replace("rate: 0.3", "rate: 0.005"))
    assert costed_of(path).problem.ways == ((0,),)


def test_edges_have_the_bytes_of_an_item_that_passes(tmp_path) -> None:
    problem = costed_of(workflows.cascade(tmp_path)).problem
    sent = {(edge.source, edge.target): edge.nbytes for edge in problem.edges}
    image, probabilities = 4 * workflows.FEATURES, 4 * workflows.CLASSES
    assert sent[CALLER, 0] == sent[CALLER, 1] == image
    assert sent[0, 1] >= probabilities


def test_measured_items_say_how_much_work_a_step_has(tmp_path) -> None:
    shares = {name: np.array([1.0, 1.0]) for name in ("detect", "crop")} | {"classify": np.array([0.5, 1.5])}
    problem = costed_of(workflows.video(tmp_path), shares=shares).problem
    classify = problem.steps[2]
    assert (classify.rate, classify.least_work, classify.timeout_s) == (1.0, 0.5, 0.005)
    with pytest.raises(ConfigError, match="expected what they take of step 'crop', got nothing"):
        costed_of(workflows.video(tmp_path), shares={"detect": np.ones(1)})


def test_variants_of_a_step_are_timed_like_its_own_model(tmp_path) -> None:
    path = workflows.cascade(tmp_path)
    choices = Choices({"small": 0.8}, {"large": {"again": VariantFile(tmp_path / "large.onnx", 0.9)}})
    small, large = costed_of(path, choices).problem.steps
    assert [each.accuracy for each in (*small.variants, *large.variants)] == [0.8, 1.0, 0.9]
    own, again = (variant.seconds["fast", 4] for variant in large.variants)
    assert again == pytest.approx(own, rel=0.05)


def test_a_step_that_runs_no_model_has_no_variants(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"choices: no step 'larg' runs a model; did you mean 'large'"):
        costed_of(workflows.cascade(tmp_path), Choices({"larg": 0.9}))


def test_a_choice_is_written_as_a_workflow_and_its_plan(tmp_path) -> None:
    path = workflows.cascade(tmp_path)
    choices = Choices({}, {"large": {"other": VariantFile(tmp_path / "small.onnx")}})
    problem = costed_of(path, choices).problem
    chosen = Configuration((Choice("own", 4, "slow", 1), Choice("other", 1, "fast", 1)), (1, 1))
    manifest = write_chosen(path, choices, problem, chosen, FLEET, profiler, tmp_path / "out")
    assert manifest.plan is not None
    assert [stage.device for stage in manifest.plan.stages] == ["slow", "fast"]
    written = read_workflow(tmp_path / "out" / WORKFLOW).workflow
    assert (written.step("small").batch, written.step("small").timeout_s) == (4, pytest.approx(0.3))
    assert written.step("large").work.path.name == "small.onnx"
    assert (tmp_path / "out" / PLAN / "plan.json").is_file()


def test_choices_are_read_from_a_file(tmp_path) -> None:
    path = tmp_path / "choices.yaml"
    path.write_text("accuracy: {small: 0.8}\nvariants: {large: {int8: {model: l.onnx, accuracy: 0.9}}}\nprices: {fast: 2}\n")
    choices = read_choices(path)
    assert choices.accuracy == {"small": 0.8}
    assert choices.variants == {"large": {"int8": VariantFile(tmp_path / "l.onnx", 0.9)}}
    assert choices.prices_per_h == {"fast": 2.0}


def test_the_accuracy_of_a_combination_is_that_of_the_whole_workflow(tmp_path) -> None:
    (tmp_path / "choices.yaml").write_text(
        "variants: {large: {again: {model: large.onnx, accuracy: 0.5}}}\n"
        "combinations: [{steps: {}, accuracy: 0.94}, {steps: {large: again}, accuracy: 0.93}]\n"
    )
    workflow = workflows.cascade(tmp_path)
    problem = costed_of(workflow, read_choices(tmp_path / "choices.yaml")).problem
    assert problem.measured_accuracy == {("own", "own"): 0.94, ("own", "again"): 0.93}
    twice = Choices(combinations=(Combination({}, 0.9), Combination({"small": "own"}, 0.8)))
    with pytest.raises(ConfigError, match=r"combinations: {small: own} is there twice; leave one of them out"):
        costed_of(workflow, twice)
    with pytest.raises(ConfigError, match="choices: step 'large' has no variant 'agin'; did you mean 'again'"):
        costed_of(
            workflow, Choices({}, {"large": {"again": VariantFile(tmp_path)}}, {}, (Combination({"large": "agin"}, 1.0),))
        )


def test_a_step_that_no_item_reaches_is_refused(tmp_path) -> None:
    shares = {"small": np.ones(20), "large": np.zeros(20)}
    with pytest.raises(ConfigError, match=r"step 'large': none of 20 items passes its condition.*measure more items"):
        costed_of(workflows.cascade(tmp_path), shares=shares)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("combinations: [{steps: {large: int8}}]", r"combinations\[0\].accuracy: missing"),
        ("accuracy: {small: 8}", r"accuracy.small: expected .*, got 8"),
        ("variants: {large: {own: {model: l.onnx}}}", "'own' is the variant that workflow.yaml names; give another name"),
        ("variants: {large: {int8: {file: l.onnx}}}", r"variants.large.int8.*file"),
        ("prices: {fast: -1}", "prices.fast: expected"),
        ("price: {}", "price"),
    ],
)
def test_mistakes_in_the_file_name_their_place(tmp_path, text, message) -> None:
    path = tmp_path / "choices.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_choices(path)
