"""What a basemodel's `from sedna.common.class_factory import ...` finds; each case in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
USERS_FILE = """
from core.common.class_factory import install
install()
install()
from sedna.common.class_factory import ClassFactory, ClassType
import sedna.common.class_factory as again

@ClassFactory.register(ClassType.GENERAL, alias="mine")
class Model: ...

@ClassFactory.register()
def plain(): ...

assert again.ClassFactory is ClassFactory
assert ClassFactory.get_cls(ClassType.GENERAL, "mine") is Model
assert ClassFactory.get_cls(ClassType.GENERAL, "plain") is plain
assert ClassFactory.is_exists(ClassType.GENERAL, "mine") and not ClassFactory.is_exists(ClassType.GENERAL, "other")
print(ClassFactory.__module__)
"""


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path[:0] = {[str(folder) for folder in (*folders, ROOT)]!r}\n"
    return subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, timeout=60, check=False)


def package(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / "sedna" / name.replace("__in__", "/")
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_without_any_sedna_the_registry_is_ours():
    done = run(USERS_FILE)
    assert (done.returncode, done.stdout.strip()) == (0, "core.common.class_factory"), done.stderr


def test_the_rest_of_sedna_is_still_absent():
    done = run("from core.common.class_factory import install\ninstall()\nimport sedna.datasources")
    assert done.stderr.strip().endswith("ModuleNotFoundError: No module named 'sedna.datasources'")


@pytest.mark.parametrize("top", ["VALUE = 1", "raise ImportError('needs a voice engine')"], ids=["healthy", "broken"])
def test_an_unrelated_sedna_is_neither_imported_nor_broken(tmp_path, top):
    unrelated = package(tmp_path, __init__=top, maths="def add(a, b): return a + b")
    code = USERS_FILE.replace(
        "import sedna.common.class_factory as again", "import sys; again = sys.modules['sedna.common.class_factory']"
    )
    done = run(code + "\nassert 'sedna' not in sys.modules", unrelated)
    assert (done.returncode, done.stdout.strip()) == (0, "core.common.class_factory"), done.stderr
    if top.startswith("VALUE"):
        done = run(USERS_FILE + "\nimport sedna.maths; print(sedna.VALUE, sedna.maths.add(1, 2))", unrelated)
        assert done.stdout.split() == ["core.common.class_factory", "1", "3"], done.stderr


def test_kubeedges_sedna_is_left_in_charge(tmp_path):
    own = (ROOT / "core/common/class_factory.py").read_text(encoding="utf-8")
    real = package(tmp_path, __init__="", common__in____init__="", common__in__class_factory=own)
    done = run(USERS_FILE, real)
    assert (done.returncode, done.stdout.strip()) == (0, "sedna.common.class_factory"), done.stderr


def test_an_unknown_alias_is_named_with_the_near_one():
    from core.common.class_factory import ClassFactory, ClassType

    ClassFactory.register_cls(dict, ClassType.HEM, alias="entropy")
    with pytest.raises(ValueError, match=r"nothing is registered as 'entrpy'.*did you mean 'entropy'"):
        ClassFactory.get_cls(ClassType.HEM, "entrpy")
