"""What runs one after the other of a composed file, whatever parts it is cut into."""

from __future__ import annotations

from pathlib import Path

from multiedge.onnx_io.groups import groups_of
from multiedge.onnx_io.reader import declared_graph
from tests.builders.composed import BOTH, composed
from tests.builders.parts import split_at


def segments_of(path: Path) -> list[tuple[str, int]]:
    """The segment and the number of nodes of each group."""
    return [(group.segment, len(group.nodes)) for group in groups_of(declared_graph(path))]


def test_the_nodes_of_a_model_are_one_group_and_each_operator_of_a_workflow_is_one(tmp_path: Path) -> None:
    assert segments_of(composed(tmp_path)) == [("small", 2), ("large.when", 1), ("large", 4), ("pick", 1)]


def test_a_group_has_what_others_read_of_it(tmp_path: Path) -> None:
    small, when, large, pick = groups_of(declared_graph(composed(tmp_path)))
    assert (small.inputs, small.outputs) == (("image",), ("small/probabilities",))
    assert (when.inputs, when.outputs) == (("small/probabilities", "image"), ("large.when/image",))
    assert (large.inputs, large.outputs) == (("large.when/image",), ("large/probabilities",))
    assert (pick.inputs, pick.outputs) == (("large/probabilities", "small/probabilities"), ("probabilities",))


def test_a_model_is_two_groups_where_a_part_of_it_is_there_for_more_items(tmp_path: Path) -> None:
    assert segments_of(composed(tmp_path, BOTH))[-2:] == [("both", 2), ("both", 1)]


def test_parts_know_which_of_their_inputs_are_there_for_the_same_items(tmp_path: Path) -> None:
    split_at(composed(tmp_path, BOTH), [7], tmp_path / "parts")
    second = tmp_path / "parts" / "sub_model_2.onnx"
    known = declared_graph(second).composition
    assert known is not None
    assert dict(known.presence) == {"large/probabilities": ("large.when/When",)}
    assert segments_of(second) == [("both", 2), ("both", 1)]
