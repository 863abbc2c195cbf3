"""Which code goes into a bundle: modules of files whole, definitions of scripts alone with what they use."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap

import pytest

from lading.errors import ConverterFailed
from lading.pack.code_files import code_of, code_of_type, imports_of

CHURN = """
import numpy as np
from scaling import scaled


class Churn:
    def predict(self, inputs):
        import sklearn

        return {"value": scaled(np.asarray(inputs["X"]))}
"""
SCALING = "import math\n\n\ndef scaled(values):\n    return values * math.pi\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write modules into a folder that is on the path, as a user's project is."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
            names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(names[0])

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_module_is_taken_whole_with_the_modules_of_the_project_that_it_imports(project):
    code = code_of(project(churn=CHURN, scaling=SCALING).Churn)
    assert code.entry == "churn:Churn"
    assert code.modules == {"code/churn.py": CHURN.encode(), "code/scaling.py": SCALING.encode()}


def test_what_the_code_imports_is_read_and_not_run(project):
    code = code_of(project(churn=CHURN, scaling=SCALING).Churn)
    assert imports_of(code.modules) == {"numpy", "scaling", "sklearn", "math"}


def test_a_module_can_be_added_that_no_import_names(project, tmp_path):
    module = project(churn="class Churn:\n    def predict(self, inputs): return inputs\n")
    (tmp_path / "plugin.py").write_text("VALUE = 1\n")
    code = code_of(module.Churn, {"plugin": tmp_path / "plugin.py"})
    assert sorted(code.modules) == ["code/churn.py", "code/plugin.py"]


def test_a_package_of_the_project_is_refused_with_the_way_out(project, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "__init__.py").write_text("")
    module = project(
        churn="import features\n\n\nclass Churn:\n    def predict(self, inputs): return inputs\n"
    )
    with pytest.raises(ConverterFailed, match="the package `features`") as refused:
        code_of(module.Churn)
    assert "build a wheel of `features`" in str(refused.value)


def test_a_relative_import_is_refused(project):
    module = project(churn="class Churn:\n    def load(self, files):\n        from . import other\n")
    with pytest.raises(ConverterFailed, match="line 3: expected imports by name"):
        code_of(module.Churn)


@pytest.mark.parametrize("thing", [lambda inputs: inputs, pytest.fixture])
def test_what_is_not_in_a_module_of_its_own_is_refused(thing):
    with pytest.raises(ConverterFailed, match=r"put it into a module|move the class to a module"):
        code_of(thing)


def test_types_of_installed_packages_bring_no_code():
    assert code_of_type("sklearn.linear_model._logistic.LogisticRegression") == {}
    assert code_of_type("decimal.Decimal") == {}


def test_a_type_of_the_running_script_is_refused():
    with pytest.raises(ConverterFailed, match="a type in a module of its own"):
        code_of_type("__main__.Clip")


SCRIPT = """
import math as m
from collections import OrderedDict

import numpy as np

import lading

RATE, NAMES = 0.5, ["a", "b"]
print("training")


def unused():
    return model


def halved(values):
    return values * RATE


class Base(lading.Model):
    pass


class Scores(Base):
    def predict(self, inputs):
        named = OrderedDict(zip(NAMES, halved(inputs["X"]).T))
        return {"value": np.cos(named["a"]) * m.pi}


from lading.pack.code_files import code_of

code = code_of(Scores)
print(code.entry)
print(code.modules["code/train.py"].decode())
"""


@pytest.mark.slow
def test_of_a_script_the_class_is_taken_with_what_it_uses_and_nothing_else(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    _, entry, *lines = done.stdout.splitlines()
    source = "\n".join(lines)
    assert entry == "train:Scores"
    assert source.strip() == textwrap.dedent(
        """\
        from collections import OrderedDict
        import lading
        import math as m
        import numpy as np


        NAMES = ['a', 'b']
        RATE = 0.5


        class Base(lading.Model):
            pass


        def halved(values):
            return values * RATE


        class Scores(Base):
            def predict(self, inputs):
                named = OrderedDict(zip(NAMES, halved(inputs["X"]).T))
                return {"value": np.cos(named["a"]) * m.pi}"""
    )


@pytest.mark.slow
def test_a_script_whose_class_uses_an_object_of_it_is_refused_with_the_way_out(tmp_path):
    script = """
    import numpy as np

    weights = np.ones(3)

    class Scores:
        def predict(self, inputs):
            return inputs["X"] @ weights

    from lading.pack.code_files import code_of
    code_of(Scores)
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "found `weights`, a `ndarray`" in done.stderr
    assert "save `weights` to a file, pass it in `files`" in done.stderr


@pytest.mark.slow
def test_a_name_of_a_script_that_a_function_has_for_its_own_is_not_taken(tmp_path):
    (tmp_path / "notes.py").write_text(
        textwrap.dedent("""
        import numpy as np
        from lading.pack.code_files import code_of

        X = np.zeros(3)
        total = object()
        factor = 2

        def predict(X, most=factor):
            total = X.sum(axis=1)
            return [value * factor for value in total]

        print(code_of(predict).modules["code/notes.py"].decode())
        """)
    )
    script = [sys.executable, tmp_path / "notes.py"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("factor = 2\n\n\ndef predict(X, most=factor):")
