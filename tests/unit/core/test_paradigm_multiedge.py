"""The paradigm with fakes: which methods of the user's object are called, in which order, and the arguments of partition()."""

import os
import sys
from types import SimpleNamespace

import pytest

from core.testcasecontroller.algorithm.paradigm.multiedge_inference import MultiedgeInference
from multiedge.errors import ConfigError

POINTS = [
    {"input_names": ["x"], "output_names": ["h"], "device_name": "phone"},
    {"input_names": ["h"], "output_names": ["y"], "device_name": "tablet"},
]
DEVICES = "devices: [{name: phone, memory: 64}, {name: tablet}, {name: watch}]\n"


class Model:
    """A user's base model that writes down its calls."""

    def __init__(self, **attributes):
        self.calls = []
        vars(self).update(attributes)

    def load(self, *args):
        self.calls.append(("load", *args))

    def predict(self, x, train_dataset=None):
        self.calls.append(("predict", x, train_dataset))
        return {"pred": x}


class Dataset:
    train_url = "train.txt"
    test_url = "test.txt"

    def load_data(self, file, data_type):
        return SimpleNamespace(x=(file, data_type))


@pytest.fixture
def partition(monkeypatch):
    """A fake `multiedge.run.partition` that keeps what it was given."""
    given = {}

    def fake(model, devices, **options):
        given.update(model=model, devices=devices, **options)
        return SimpleNamespace(map_info={"sub_model_1.onnx": "phone"}, plan=None)

    monkeypatch.setitem(sys.modules, "multiedge.run", SimpleNamespace(partition=fake))
    return given


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs the paradigm in an empty folder that has a model.onnx and a devices.yaml."""
    monkeypatch.chdir(tmp_path)
    for name in ("LOCAL_TEST", "RESULT_SAVED_URL", "BASE_MODEL_URL"):
        # Set first: only what was there is put back (here: nothing) when the test ends.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / "model.onnx").touch()
    (tmp_path / "devices.yaml").write_text(DEVICES, encoding="utf-8")
    (tmp_path / "points.yaml").write_text(
        "devices: [{name: phone}]\npartition_points: [{input_names: [x], output_names: [y], device_name: phone}]\n",
        encoding="utf-8",
    )

    def start(model, hyperparameters=None, dataset=None, **settings):
        module = SimpleNamespace(hyperparameters=hyperparameters or {}, get_module_instance=lambda kind: model)
        known = {"initial_model_url": "model.onnx", "dataset": dataset or Dataset(), "modules": {"basemodel": module}}
        return MultiedgeInference("case", **{**known, **settings}).run()

    return start


def test_a_whole_model_is_loaded_and_gets_the_training_data(start):
    model = Model()
    result, system = start(model)
    assert model.calls[0] == ("load", "model.onnx")
    assert model.calls[1][1] == ("test.txt", "inference")
    assert model.calls[1][2].x == ("train.txt", "train")
    assert (result, system) == ({"pred": ("test.txt", "inference")}, {})


def test_training_data_goes_only_to_a_predict_that_takes_it(start):
    model = Model(predict=lambda x: "seen")
    assert start(model)[0] == "seen"
    keywords = Model(predict=lambda x, **kwargs: sorted(kwargs))
    assert start(keywords)[0] == ["train_dataset"]


def test_without_training_data_there_is_none_to_tell(start):
    dataset = Dataset()
    dataset.train_url = None
    model = Model()
    start(model, dataset=dataset)
    assert model.calls[1][2] is None


def test_the_environment_is_ianvss(start):
    start(Model())
    assert os.environ["LOCAL_TEST"] == "TRUE"
    assert os.environ["BASE_MODEL_URL"] == "model.onnx"
    assert os.environ["RESULT_SAVED_URL"] == "case/output/inference/"
    assert os.path.isdir("case/output/inference")


def test_a_parallel_model_has_no_base_model_url(start, partition):
    start(Model(model_parallel=True, partition_point_list=POINTS))
    assert "BASE_MODEL_URL" not in os.environ


@pytest.mark.parametrize("name", ["partition", "partiton"])
def test_the_users_own_partition_comes_first(start, partition, name):
    model = Model(model_parallel=True, partition_point_list=POINTS, devices="devices.yaml")

    def own(url):
        return f"parts of {url}", {"b.onnx": "tablet", "a.onnx": "phone"}

    setattr(model, name, own)
    start(model)
    assert model.calls[0] == ("load", "parts of model.onnx", {"b.onnx": "tablet", "a.onnx": "phone"})
    assert model.calls[1] == ("predict", ("test.txt", "inference"), None)
    assert partition == {}


@pytest.mark.parametrize("parts", [None, "dir", ("dir",), ("dir", {}), ("dir", ["a.onnx"])])
def test_a_partition_that_returns_something_else_is_named(start, parts):
    with pytest.raises(ValueError, match=r"Model\..*: expected it to return \(models_dir, \{file: device\}\)"):
        start(Model(model_parallel=True, partition=lambda url: parts))


def test_points_of_the_object_are_cut_for_the_devices_they_name(start, partition):
    model = Model(model_parallel=True, partition_point_list=POINTS)
    start(model)
    assert partition["strategy"] == "manual"
    assert partition["devices"].names == ("phone", "tablet")
    assert [point.device_name for point in partition["devices"].partition_points] == ["phone", "tablet"]
    assert model.calls[0] == ("load", os.path.abspath("case/output/partition"), {"sub_model_1.onnx": "phone"})


def test_points_of_the_object_keep_the_limits_of_devices_yaml(start, partition):
    start(Model(model_parallel=True, partition_point_list=POINTS), devices="devices.yaml")
    assert partition["devices"].device("phone").memory_bytes == 64 * 2**20
    assert len(partition["devices"].partition_points) == 2


def test_a_point_on_a_device_that_devices_yaml_lacks_is_refused(start, partition):
    points = [{**POINTS[0], "device_name": "phon"}]
    with pytest.raises(ConfigError, match=r"device 'phon' is not in .*; did you mean 'phone'\?"):
        start(Model(model_parallel=True, partition_point_list=points), devices="devices.yaml")
    assert partition == {}


def test_points_in_a_tuple_are_points(start, partition):
    start(Model(model_parallel=True, partition_point_list=tuple(POINTS)))
    assert partition["devices"].names == ("phone", "tablet")


def test_devices_can_be_named_by_numbers_which_the_base_model_gets_back(start, partition, monkeypatch):
    files = SimpleNamespace(map_info={"sub_model_1.onnx": "0", "sub_model_2.onnx": "1"}, plan=None)
    given = sys.modules["multiedge.run"].partition

    def cut(*args, **options):
        given(*args, **options)
        return files

    monkeypatch.setitem(sys.modules, "multiedge.run", SimpleNamespace(partition=cut))
    model = Model(model_parallel=True, partition_point_list=[{**point, "device_name": n} for n, point in enumerate(POINTS)])
    start(model)
    assert partition["devices"].names == ("0", "1")
    assert model.calls[0][2] == {"sub_model_1.onnx": 0, "sub_model_2.onnx": 1}


def test_the_testenv_of_ianvss_own_example_is_read(start, partition):
    start(Model(model_parallel=True, partition_point_list=POINTS), devices=[{"url": "devices.yaml"}])
    assert partition["devices"].device("phone").memory_bytes == 64 * 2**20


def test_points_need_no_devices_yaml_where_ianvs_reads_none(start, partition, caplog):
    with caplog.at_level("WARNING", logger="ianvs"):
        start(Model(model_parallel=True, partition_point_list=POINTS), devices=[{"url": "./none.yaml"}])
    assert partition["devices"].names == ("phone", "tablet")
    assert "no such file './none.yaml'; the partition points are cut without checking any limit" in caplog.text


@pytest.mark.parametrize("devices", [[], [{"path": "devices.yaml"}], [{"url": 1}], {"url": "devices.yaml"}, 7])
def test_devices_of_another_form_are_refused(start, partition, devices):
    with pytest.raises(ConfigError, match=r"^devices: expected the path of a devices.yaml, or \[{url: path}\], got "):
        start(Model(model_parallel=True, partition_point_list=POINTS), devices=devices)


def test_a_devices_yaml_that_does_not_exist_is_an_error_without_points(start, partition):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        start(Model(model_parallel=True), devices=[{"url": "./none.yaml"}])


def test_model_parallel_can_be_an_attribute_of_the_class(start, partition):
    class Parallel(Model):
        model_parallel = True

    model = Parallel(partition_point_list=POINTS)
    start(model)
    assert model.calls[0][1] == os.path.abspath("case/output/partition")


@pytest.mark.parametrize("where", ["hyperparameter", "attribute", "yaml"])
def test_devices_and_strategy_are_found_wherever_they_stand(start, partition, where):
    stated = {"devices": "devices.yaml", "partition_strategy": "latency", "partition_options": {"trials": 3}}
    places = {name: stated if name == where else {} for name in ("hyperparameter", "attribute", "yaml")}
    start(Model(model_parallel=True, **places["attribute"]), places["hyperparameter"], **places["yaml"])
    assert (partition["strategy"], partition["options"]) == ("latency", {"trials": 3})
    assert partition["devices"].names == ("phone", "tablet", "watch")


def test_a_hyperparameter_beats_the_object_and_the_object_the_yaml(start, partition):
    model = Model(model_parallel=True, partition_strategy="object")
    start(model, {"strategy": "grid"}, devices="devices.yaml", partition_strategy="yaml")
    assert partition["strategy"] == "grid"
    start(model, devices="devices.yaml", partition_strategy="yaml")
    assert partition["strategy"] == "object"


def test_attributes_that_mean_something_else_are_left_alone(start, partition):
    start(Model(model_parallel=True, devices=["gpu-0"], partition_options=7), devices="devices.yaml")
    assert partition["devices"].names == ("phone", "tablet", "watch")
    assert "options" not in partition


def test_points_in_devices_yaml_mean_manual_unless_another_strategy_is_named(start, partition):
    start(Model(model_parallel=True), devices="points.yaml")
    assert partition["strategy"] == "manual"
    start(Model(model_parallel=True), {"strategy": "single"}, devices="points.yaml")
    assert partition["strategy"] == "single"


def test_without_a_name_the_library_chooses_the_strategy(start, partition):
    start(Model(model_parallel=True), devices="devices.yaml")
    assert "strategy" not in partition


def test_nothing_to_partition_by_is_one_line_with_all_remedies(start, partition):
    with pytest.raises(ConfigError, match=r"Model is model_parallel, but nothing says how to partition: .*devices.yaml"):
        start(Model(model_parallel=True))


@pytest.mark.parametrize(("url", "error"), [("", "has no initial_model_url"), ("no.onnx", "no such file 'no.onnx'")])
def test_a_missing_model_is_named(start, partition, url, error):
    with pytest.raises(ConfigError, match=error):
        start(Model(model_parallel=True), devices="devices.yaml", initial_model_url=url)


def test_a_failing_function_of_the_users_is_named_with_the_missing_model(start):
    def load(url):
        raise OSError("cannot\nopen")

    with pytest.raises(
        RuntimeError, match=r"^Model.load: OSError: cannot open; initial_model_url 'no.pth' does not exist \(looked"
    ):
        start(Model(load=load), initial_model_url="no.pth")


def test_an_error_without_words_is_named_by_its_kind(start):
    def load(url):
        raise NotImplementedError

    with pytest.raises(RuntimeError, match=r"^Model.load: NotImplementedError$"):
        start(Model(load=load))


def test_a_user_who_exits_does_not_end_the_job(start):
    def predict(x):
        raise SystemExit(2)

    with pytest.raises(RuntimeError, match=r"^Model.predict: SystemExit: 2$"):
        start(Model(predict=predict))
