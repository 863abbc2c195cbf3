"""Kernel machines: the label between two classes, and every kernel."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from sklearn.svm import SVC, NuSVC

from lading.errors import ConverterFailed
from lading.pack import pack
from support.sklearn_models import OWNER, X, Y
from support.sklearn_rows import beside_thresholds
from support.sklearn_survey import count_disagreements

KERNELS = ["linear", "poly", "rbf", "sigmoid", "cosine", "laplacian"]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "model",
    [
        SVC(),
        SVC(kernel="poly", degree=2, coef0=1.0),
        SVC(kernel="sigmoid", C=0.1),
        SVC(kernel="linear", break_ties=True),
        SVC(decision_function_shape="ovo"),
        NuSVC(nu=0.2),
    ],
    ids=str,
)
def test_votes_fall_as_in_scikit_learn_on_both_sides_of_a_border(tmp_path, model, classes):
    rows, target = (X, Y) if classes == 3 else (X[Y > 0], Y[Y > 0])
    model.fit(rows, target)
    bundle = pack(model, name="m", samples=rows, owner=OWNER, to=tmp_path / "b")
    asked = np.concatenate([rows, rows * 3 - 5, beside_thresholds(model, rows)])
    assert count_disagreements(bundle, model, asked) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_ridge_and_nystroem_take_every_kernel(tmp_path, kernel):
    model = make_pipeline(
        StandardScaler(),
        Nystroem(kernel, n_components=20, random_state=0),
        KernelRidge(kernel=kernel, alpha=1.0),
    )
    model.fit(X, X[:, 0] * X[:, 1])
    bundle = pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X * 1.3) == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", [LabelPropagation(gamma=2), LabelSpreading(gamma=2)])
def test_propagated_labels_are_answered_for_new_rows(tmp_path, model):
    target = np.where(np.arange(len(Y)) % 3 == 0, Y, -1)  # -1: no label is known
    bundle = pack(model.fit(X, target), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, X + 0.05) == 0


@pytest.mark.slow
def test_a_kernel_in_python_is_refused(tmp_path):
    model = KernelRidge(kernel=lambda a, b: float(a @ b)).fit(X, X[:, 0])
    with pytest.raises(ConverterFailed, match="`kernel`"):
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
