"""Items to run: arrays from .npz files that must fit the model, or seeded ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multiedge.errors import ConfigError, PlanError
from multiedge.graph import Tensor
from multiedge.onnx_io.items import DISTINCT, input_tensors, npz_files, npz_items, random_items, read_labels
from multiedge.onnx_io.npz import read_npz
from tests.builders.pipelines import WIDTH, small_plan

INPUTS = {
    "image": Tensor("image", "float32", (1, 3)),
    "mask": Tensor("mask", "int64", ("n", 2)),
    "any": Tensor("any", None, None),
}


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def fitting(**changes: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {"image": np.zeros((1, 3), np.float32), "mask": np.zeros((5, 2), np.int64), "any": np.zeros(4)}
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory):
    return small_plan(tmp_path_factory.mktemp("plan"))[0]


def test_a_file_gives_one_array_per_input(tmp_path: Path) -> None:
    arrays = read_npz(save(tmp_path / "a.npz", **fitting()), INPUTS)
    assert {name: array.shape for name, array in arrays.items()} == {"image": (1, 3), "mask": (5, 2), "any": (4,)}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"any": None}, "a.npz: the model's input 'any' is not in there"),
        ({"imag": np.zeros(1)}, "a.npz: 'imag' is no input of the model; did you mean 'image'?"),
        ({"image": np.zeros((3, 1), np.float32)}, "a.npz: input 'image': expected float32 [1, 3], got float32 [3, 1]"),
        ({"image": np.zeros((1, 3))}, "a.npz: input 'image': expected float32 [1, 3], got float64 [1, 3]"),
        ({"mask": np.zeros((5, 2, 1), np.int64)}, "a.npz: input 'mask': expected int64 ['n', 2], got int64 [5, 2, 1]"),
        ({"mask": np.zeros((5, 2), np.int32)}, "a.npz: input 'mask': expected int64 ['n', 2], got int32 [5, 2]"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, np.ndarray], line: str) -> None:
    path = save(tmp_path / "a.npz", **fitting(**changes))
    with pytest.raises(ConfigError) as caught:
        read_npz(path, INPUTS)
    assert str(caught.value).startswith(f"{tmp_path}/{line}")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 no archive"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected an .npz with one array per input of the model, as numpy.savez"):
        read_npz(path, INPUTS)


def test_a_lone_array_and_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "b.npz", image=np.array([{"a": 1}], dtype=object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(ConfigError, match=r"expected an \.npz"):
            read_npz(tmp_path / name, {"image": INPUTS["image"]})


def test_a_folder_gives_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b.npz", "a.npz", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in npz_files(tmp_path)] == ["a.npz", "b.npz"]
    assert npz_files(tmp_path / "b.npz") == [tmp_path / "b.npz"]


def test_a_folder_without_files_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no \.npz file in this folder"):
        npz_files(tmp_path)
    with pytest.raises(ConfigError, match=r"x\.npz: no such file; expected an \.npz"):
        npz_files(tmp_path / "x.npz")


def test_inputs_are_those_that_the_parts_declare(manifest) -> None:
    assert input_tensors(manifest) == {"x": Tensor("x", "float32", (1, WIDTH), 4 * WIDTH)}


def test_files_are_read_when_their_item_is_due(manifest, tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.npz", x=np.full((1, WIDTH), number, np.float32))
    items, count = npz_items(manifest, [tmp_path])
    (tmp_path / "2.npz").unlink()
    assert count == 3
    assert [float(next(items)["x"][0, 0]) for _ in range(2)] == [0.0, 1.0]
    assert "2.npz: expected an .npz" in str(next(items))


def test_a_first_file_that_does_not_fit_is_refused_before_anything_runs(manifest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'y' is no input of the model"):
        npz_items(manifest, [save(tmp_path / "a.npz", y=np.zeros(1))])


def test_random_items_are_seeded_and_repeat(manifest) -> None:
    first = [item["x"] for item in random_items(manifest, 2 * DISTINCT, seed=3)]
    assert len(first) == 2 * DISTINCT
    assert len({array.tobytes() for array in first}) == DISTINCT
    np.testing.assert_array_equal(first[0], first[DISTINCT])
    np.testing.assert_array_equal(first[1], next(iter(random_items(manifest, 1, seed=4)))["x"])
    assert first[0].shape == (1, WIDTH)


def test_random_items_need_the_model(manifest, tmp_path: Path) -> None:
    away = replace(manifest, model="nowhere.onnx", directory=str(tmp_path))
    with pytest.raises(PlanError, match=r"the model 'nowhere\.onnx' is not there, and random items need its inputs"):
        random_items(away, 3)


def test_a_model_beside_the_plan_is_found(manifest, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(Path(manifest.model).read_bytes())
    beside = replace(manifest, model="small.onnx", directory=str(tmp_path))
    assert len(list(random_items(beside, 3))) == 3


def test_labels_are_the_last_word_of_each_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a.npz 3\n\n17\n")
    assert read_labels(path, 2) == (3, 17)
    with pytest.raises(ConfigError, match=r"labels.txt: expected a line for each of 3 items, got 2"):
        read_labels(path, 3)
    path.write_text("cat\n")
    with pytest.raises(ConfigError, match=r"labels.txt:1: expected the number of a class at the end, got 'cat'"):
        read_labels(path, 1)
    with pytest.raises(ConfigError, match="no such file; expected a text with the class of an item in each line"):
        read_labels(tmp_path / "none.txt", 1)
