import pickle
import sys

import pytest

from core.common import class_factory
from core.common.user_module import UserModule
from multiedge.errors import ConfigError

REGISTERS = """
from sedna.common.class_factory import ClassFactory, ClassType
{imports}

@ClassFactory.register(ClassType.GENERAL, alias="{alias}")
class Model:
    def answer(self):
        {body}
"""


@pytest.fixture(autouse=True)
def registry():
    class_factory.install()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """No user's module stays where the next user's import would find it."""
    before, path = dict(sys.modules), list(sys.path)
    yield
    left = {name for name in sys.modules if name not in before and name in ("basemodel", "helper", "lazy", "who")}
    assert (left, sys.path) == (set(), path)


def write(folder, file="basemodel.py", alias="Model", imports="", body="return 0", **siblings):
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(REGISTERS.format(alias=alias, imports=imports, body=body), encoding="utf-8")
    for name, text in siblings.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return str(folder / file)


def test_files_of_one_name_and_alias_each_run_their_own_code(tmp_path):
    modules = [
        UserModule(
            write(tmp_path / name, imports="import helper", body="return helper.NAME", helper=f"NAME = {name!r}"), "Model"
        )
        for name in ("first", "second")
    ]
    assert [module.registered()().answer() for module in modules] == ["first", "second"]
    assert [module.registered()().answer() for module in reversed(modules)] == ["second", "first"]


def test_an_import_inside_a_function_finds_the_files_own_sibling(tmp_path):
    modules = [
        UserModule(write(tmp_path / name, body="import lazy; return lazy.NAME", lazy=f"NAME = {name!r}"), "Model")
        for name in ("first", "second")
    ]
    for module, expected in zip(modules, ("first", "second"), strict=True):
        model = module.registered()()
        with module.active():
            assert model.answer() == expected


def test_the_users_class_can_be_pickled_while_its_code_runs(tmp_path):
    module = UserModule(write(tmp_path), "Model")
    model = module.registered()()
    with module.active():
        assert b"basemodel" in pickle.dumps(model)


def test_active_may_be_nested(tmp_path):
    module = UserModule(write(tmp_path, imports="import helper", helper="NAME = 1"), "Model")
    with module.active():
        module.registered()
        assert sys.modules["helper"].NAME == 1
    assert "helper" not in sys.modules


def test_a_search_path_that_the_file_adds_is_in_force_again(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "who.py").write_text("NAME = 'found'", encoding="utf-8")
    imports = f"import sys; sys.path.append({str(tmp_path / 'elsewhere')!r})"
    module = UserModule(write(tmp_path / "a", imports=imports, body="import who; return who.NAME"), "Model")
    model = module.registered()()
    with module.active():
        assert model.answer() == "found"
    sys.modules.pop("who")


def test_a_file_called_like_a_library_does_not_stand_in_for_it(tmp_path):
    import random

    module = UserModule(write(tmp_path, file="random.py", imports="import random as used", body="return used"), "Model")
    assert module.registered()().answer() is random
    assert sys.modules["random"] is random


def test_a_folder_is_imported_as_a_package(tmp_path):
    write(tmp_path / "kit", file="__init__.py", imports="from kit.part import NAME", body="return NAME", part="NAME = 'kit'")
    module = UserModule(str(tmp_path / "kit"), "Model")
    assert module.registered()().answer() == "kit"
    assert "kit" not in sys.modules


def test_a_file_runs_once(tmp_path):
    url = write(tmp_path, imports=f"with open({str(tmp_path / 'log')!r}, 'a') as log:\n    log.write('x')")
    module = UserModule(url, "Model")
    module.registered()
    module.registered()
    assert (tmp_path / "log").read_text() == "x"


def test_another_files_registration_is_not_taken_for_this_ones(tmp_path):
    UserModule(write(tmp_path / "a", alias="Model"), "Model").registered()
    with pytest.raises(ConfigError, match=r"b/basemodel.py: registers nothing as 'Model'; did you mean 'Modell'\?"):
        UserModule(write(tmp_path / "b", alias="Modell"), "Model").registered()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("1 +", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(tmp_path, text, found):
    (tmp_path / "basemodel.py").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=found) as caught:
        UserModule(str(tmp_path / "basemodel.py"), "Model").registered()
    assert str(caught.value).startswith(f"{tmp_path}/basemodel.py: cannot be imported: ")
