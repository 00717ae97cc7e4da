import pytest

from benchmarks.models import path_of


def test_a_file_is_itself(tmp_path):
    file = tmp_path / "mine.onnx"
    file.touch()
    assert path_of(str(file)) == file


def test_light_models_come_from_the_onnx_package():
    assert path_of("light_squeezenet").is_file()


@pytest.mark.parametrize("name", ["light_nothing", "no_such_model"])
def test_a_model_that_does_not_exist_is_an_error(name):
    with pytest.raises(LookupError, match=name):
        path_of(name)
