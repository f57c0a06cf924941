"""Test files for somebody's gradients: they run, pass for right code, and fail for wrong code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexprop.trials import trial
from tests import zoo

FEW = """
from hypothesis import Phase, settings

settings.register_profile("few", max_examples=10, phases=[Phase.generate])
settings.load_profile("few")
"""


def outcome(folder: Path, name: str, text: str) -> tuple[int, str, str]:
    """The exit code of pytest on the file that is written beside some code, its output, and the file."""
    (folder / name).write_text(text, encoding="utf-8")
    test = trial(folder / name)
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    (folder / "conftest.py").write_text(FEW, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, test


@pytest.mark.parametrize("name", ["column_document.py", "row_document.ipynb"])
def test_right_code_passes_without_indexprop(name: str, tmp_path: Path) -> None:
    text = (zoo.HERE / "right" / name).read_text(encoding="utf-8")
    code, output, test = outcome(tmp_path, name, text)
    assert code == 0, output
    assert "import indexprop" not in test
    assert "st.integers(1, 6)" in test


def test_wrong_code_fails_and_the_tensor_is_named(tmp_path: Path) -> None:
    text, _ = zoo.changed("row_document", "d_b1 = np.sum(d_Z1, axis=0", "d_b1 = np.mean(d_Z1, axis=0")
    code, output, _ = outcome(tmp_path, "net.py", text)
    assert code == 1
    assert "Mismatched elements" in output
    assert "b_1" in output


def test_data_inside_functions_is_followed_by_indexprop(tmp_path: Path) -> None:
    text = (zoo.HERE / "right" / "layer_objects.py").read_text(encoding="utf-8")
    (tmp_path / "net.py").write_text(text, encoding="utf-8")
    test = trial(tmp_path / "net.py")
    assert "indexprop.audit(" in test
    compile(test, "test_net.py", "exec")


def test_parameters_take_both_signs_though_the_code_starts_with_positive_ones() -> None:
    test = trial(zoo.HERE / "right" / "row_document.py")
    assert "    W_1 = rng.normal(size=(n_i, n_h))\n" in test
    assert "    y = rng.uniform(0.3, 1.3, size=(n_b, n_o))\n" in test
