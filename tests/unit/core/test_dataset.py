import numpy as np
import pytest

from core.testenvmanager.dataset.dataset import Dataset, parse_dataset
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field


@pytest.fixture
def load(tmp_path):
    """Loads an index with the given text; the images that it names exist."""
    (tmp_path / "a.jpg").touch()

    def load(text, name="test.txt", label=None, **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return Dataset(None, str(path), label).load_data(str(path), "inference", **options)

    return load


def test_one_relative_path_makes_every_word_absolute_the_label_too(load, tmp_path):
    data = load("/abs/b.jpg 7\na.jpg 3\n")
    assert data.x.tolist() == ["/abs/b.jpg", f"{tmp_path}/a.jpg"]
    assert data.y.tolist() == [f"{tmp_path}/7", f"{tmp_path}/3"]


def test_labels_stay_as_they_are_if_all_paths_are_absolute(load):
    data = load("/abs/a.jpg 3\n/abs/b.jpg 7\n")
    assert (data.x.tolist(), data.y.tolist()) == (["/abs/a.jpg", "/abs/b.jpg"], ["3", "7"])


def test_samples_are_numpy_arrays_of_strings_with_a_length_and_a_type(load):
    data = load("/abs/a.jpg 3\n\n/abs/b.jpg 7\n")
    assert (len(data), data.num_examples(), data.data_type) == (2, 2, "inference")
    assert isinstance(data.x, np.ndarray)
    assert data.x.dtype.kind == data.y.dtype.kind == "U"


def test_an_item_without_a_label_is_labelled_zero(load):
    assert load("/abs/a.jpg\n").y.tolist() == [0]


def test_use_raw_keeps_all_words_and_no_labels(load):
    data = load("/abs/a.jpg 3 4\n", use_raw=True)
    assert (data.x.tolist(), data.y.tolist()) == ([["/abs/a.jpg", "3", "4"]], [])


def test_use_raw_takes_lines_of_different_lengths(load):
    assert load("/abs/a.jpg 3 4\n/abs/b.jpg\n", use_raw=True).x.tolist() == [["/abs/a.jpg", "3", "4"], ["/abs/b.jpg"]]


def test_a_feature_process_makes_input_and_label_of_a_line(load):
    data = load("/abs/a.jpg 3\n", feature_process=lambda line: line.split("jpg"))
    assert (data.x.tolist(), data.y.tolist()) == (["/abs/a."], [" 3"])


def test_a_folder_with_a_space_in_its_name_stays_whole(tmp_path):
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "i.txt").write_text("a.jpg 1\n", encoding="utf-8")
    assert Dataset(None, "").load_data(str(folder / "i.txt"), "train").x.tolist() == [f"{folder}/a.jpg"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("i.csv", "image,label\na.jpg,3\n/abs/b.jpg,7\n"),
        ("i.json", '[{"image": "a.jpg", "label": "3"}, {"label": "7", "image": "/abs/b.jpg"}]'),
        ("i.jsonl", '{"image": "a.jpg", "label": "3"}\n\n{"image": "/abs/b.jpg", "label": "7"}\n'),
    ],
)
def test_records_name_their_label_and_keep_it(load, tmp_path, name, text):
    data = load(text, name)
    assert (data.x.tolist(), data.y.tolist()) == ([f"{tmp_path}/a.jpg", "/abs/b.jpg"], ["3", "7"])


def test_the_label_column_can_be_named(load):
    assert load("q,x\n1,hello\n", "i.csv", label="q").x.tolist() == ["hello"]


@pytest.mark.parametrize(
    ("name", "text", "label", "error"),
    [
        ("i.csv", "image,lable\na,1\n", "label", r"i.csv:2: no field 'label'; did you mean 'lable'\?"),
        ("i.json", '{"image": "a"}', None, r"i.json: expected a list, got a mapping of image"),
        ("i.json", "[{]", None, r"i.json: not valid JSON: expecting property name"),
        (
            "i.json",
            '[{"image": "a"}, {}]',
            None,
            r"i.json: \[1\]: expected a record with a value .*, got an empty mapping$",
        ),
        ("i.json", '[{"image": "a"}, 3]', None, r"i.json: \[1\]: expected a mapping, got 3$"),
        ("i.csv", "image,label\na,1\n\nb\n", None, r"i.csv:4: expected 2 values as the header names, got 1$"),
        ("i.jsonl", '{"image": "a"}\n{', None, r"i.jsonl:2: not valid JSON: expecting property name"),
        (
            "i.jsonl",
            '{"label": 1}',
            None,
            r"i.jsonl:1: expected a record with a value beside the label, got a mapping of label",
        ),
    ],
)
def test_damaged_indexes_are_named(load, name, text, label, error):
    with pytest.raises(ConfigError, match=error):
        load(text, name, label)


def test_an_empty_test_index_is_refused(tmp_path):
    (tmp_path / "i.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"i\.txt: the test dataset is empty; expected one item a line"):
        Dataset(None, str(tmp_path / "i.txt")).check()


@pytest.mark.parametrize("spelling", ["index", "data", "data_info", "url"])
def test_all_spellings_of_ianvs_are_read(tmp_path, spelling):
    (tmp_path / "i.txt").touch()
    url = str(tmp_path / "i.txt")
    field = Field({f"train_{spelling}": url, f"test_{spelling}": url, "label": "q"}, "t")
    assert parse_dataset(field) == Dataset(url, url, "q")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"test_irl": "i.txt"}, r"t: unknown key 'test_irl'; did you mean 'test_url'\?"),
        ({"train_url": None}, "t: expected one of test_index, test_data, test_data_info, test_url, got none of them"),
        ({"test_url": "no.txt"}, r"t: test_url: no such file 'no.txt' \(looked from "),
        ({"test_url": "no.parquet"}, "t: test_url: expected a file that ends in .txt, .csv, .json, .jsonl, got 'no.parquet'"),
        ({"test_url": "a.txt", "test_index": "b.txt"}, "t: test_index and test_url mean the same; keep one"),
        ([], "t: expected a mapping of train_index, .* got an empty list"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(content, error):
    with pytest.raises(ConfigError, match=error):
        parse_dataset(Field(content, "t"))
