"""The texts for torch and jax: what they look like, and that nothing of numpy is left in them.

What they compute is tested where the frameworks are, in tests/integration.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import indexprop as ip
from indexprop.__main__ import main
from indexprop.dialects import DIALECTS, JAX, NUMPY, TORCH
from indexprop.errors import DerivationError, NotationError
from indexprop.functions import TABLE
from tests import test_codegen, test_recurrences, test_slots

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"

FILES = {
    f"{example}_{dialect}{'_differentiable' if differentiable else ''}.py": (example, dialect, differentiable)
    for example in ("column_batch", "row_batch", "recurrence")
    for dialect in ("torch", "jax")
    for differentiable in (False, True)
}
RECURRENCE = """
    for t:
        C[t,b,h] = sigmoid(f[h]) C[(t-1)?,b,h] + W[i,h] X[b,t,i] + U[g,h] H[(t-1)?,b,g]
        H[t,b,h] = [m[b,t]] tanh(C[t,b,h])
    L = sum[t,b,h]((H[t,b,h] - T[t,b,h])^2) / 2
"""


def golden(example, dialect, differentiable):
    net = ip.parse(RECURRENCE if example == "recurrence" else ROOT / "examples" / f"{example}.ixp")
    if example == "recurrence":
        return ip.source(ip.gradient(net, wrt=["f", "W", "U"]), dialect=dialect, differentiable=differentiable)
    grad = ip.gradient(net, wrt=[name for name in net.input_names if name not in ("X", "T")])
    return ip.source(grad, example.removesuffix("_batch"), dialect=dialect, differentiable=differentiable)


@pytest.mark.parametrize("file", FILES)
def test_golden_sources(file):
    """`python -m tests.test_dialects` writes the files anew."""
    assert (GOLDEN / file).read_text(encoding="utf-8") == golden(*FILES[file])


@pytest.mark.parametrize(
    "text",
    [
        "D[t,h] = x[t,h]\nfor t:\n    D[(t-1)?,h] += y[t,h]\nQ[h] = D[t,h]",  # added to behind
        "D[s,h] = x[s,h]\nfor t:\n    D[(t+1)?,h] += y[t,h]\nQ[h] = D[s,h]",  # along another axis
        "for t:\n    D[t,t,h] = x[t,h]\nQ[h] = D[t,s,h]",  # at two of its axes
    ],
)
@pytest.mark.parametrize("dialect", ["torch", "jax"])
def test_what_no_function_of_one_position_can_say_is_a_loop(text, dialect):
    found = ip.source(ip.parse(text), dialect=dialect)
    assert "for t in range(n_t):" in found
    assert "scan(" not in found


def test_variables_at_a_position_hide_nothing():
    """A size is `n_t` and positions are `at_t`: tensors called `n` and `at` are something else at a position."""
    text = "for t:\n    n[t] = at[t] + n[(t-1)?]\n    each[t] = n[t] / |t| + given[t]"
    found = ip.source(ip.parse(text), dialect="jax")
    assert "    def each_t2(n_before, given2):\n        at_t, given_t = given2\n" in found
    assert "        each_t = n_t / n_t2 + given_t  # each[t]\n" in found
    assert "    n_t2 = at.shape[0]  # |t|\n" in found


@pytest.mark.parametrize(("dialect", "style", "differentiable"), [("torch", "matmul", True), ("jax", "einsum", False)])
def test_nothing_of_numpy_is_left(dialect, style, differentiable):
    every = (*test_codegen.HAND_PICKED.values(), *test_slots.CASES.values(), *test_recurrences.CASES.values())
    for text in every:
        derived = ip.vjp(ip.parse(text.replace(" \n ", "\n")))
        found = ip.source(derived, style=style, dialect=dialect, differentiable=differentiable)
        names = {node.id for node in ast.walk(ast.parse(found)) if isinstance(node, ast.Name)}
        assert "np" not in names
        assert {"numpy", "opt_einsum"}.isdisjoint(found.replace("jax.numpy", "").split())
        if dialect == "torch":
            assert "axis=" not in found
            assert "keepdims" not in found


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("name", TABLE)
def test_every_function_is_spelled(name, dialect):
    record = TABLE[name]
    text = dialect.spelling(record)
    if text.startswith("\ndef"):
        [function] = ast.parse(text).body
        assert isinstance(function, ast.FunctionDef)
        assert function.name == name
        assert ast.get_docstring(function)
    elif text:
        ast.parse(text.format(**{parameter: parameter for parameter in record.parameters}), mode="eval")
    if dialect is not NUMPY:
        assert "np." not in text.replace("jnp.", "")


@pytest.mark.parametrize(
    ("text", "torch", "jax"),
    [
        ("y[i] = X[i,j]", "y = X.sum(dim=1)", "y = X.sum(axis=1)"),
        ("y[i] = max[j](X[i,j])", "y = X.amax(dim=1)", "y = X.max(axis=1)"),
        ("y[k] = prod[i,j](X[i,j,k])", "y = X.prod(dim=1).prod(dim=0)", "y = X.prod(axis=(0, 1))"),
        ("Y[k,i,j] = X[i,j,k]", "Y = X.permute(2, 0, 1).clone()", "Y = X.transpose(2, 0, 1)"),
        ("Y[i] = [c[i]] x[i]", "Y = torch.where(c.bool(), x, 0)", "Y = jnp.where(c, x, 0)"),
        ("Y[i] = where(x[i] > 0, 1/3, 0)", None, "Y = jnp.where(x > 0, 1 / 3, 0).astype(dtype)"),
        ("Y[i] = maximum(x[i], 0.1)", "Y = torch.clamp(x, min=1 / 10)", "Y = jnp.maximum(x, 1 / 10)"),
        ("Y[i] = stop(x[i])", "Y = x.detach().clone()", "Y = jax.lax.stop_gradient(x)"),
        ("Y[i] = sigmoid(x[i])", "Y = torch.sigmoid(x)", "Y = jax.nn.sigmoid(x)"),
        ("input x[i]\nY[i] = |i|", None, "Y = jnp.full((n_i,), n_i, dtype)"),
        ("D[i,i] = x[i]", "D.index_put_((at_i, at_i,), x, accumulate=True)", "D = D.at[at_i, at_i].add(x)"),
        ("y[l] = A[i,j] B[j,k] C[k,l] d[i]", 'y = torch.einsum("ij,jk,kl->l", A * d[:, None], B, C)', None),
    ],
)
def test_spellings(text, torch, jax):
    for dialect, line in (("torch", torch), ("jax", jax)):
        found = ip.source(ip.parse(text), dialect=dialect)
        assert line is None or any(one.strip().startswith(line) for one in found.splitlines()), found


def test_numpy_has_no_other_words():
    assert NUMPY.reduce("prod", "X", (0, 2), keep=True) == "X.prod(axis=(0, 2), keepdims=True)"
    assert TORCH.reduce("prod", "X", (0, 2), keep=True) == "X.prod(dim=2, keepdim=True).prod(dim=0, keepdim=True)"
    assert TORCH.reduce("min", "X") == "X.amin()"
    assert JAX.reduce("min", "X") == "X.min()"


# --- what is refused --------------------------------------------------------------------------------------------------

NET = ip.parse("Y[o] = W[o,i] x[i]\nL = Y[o]^2")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ip.source(NET, dialect="torhc"), "there is no dialect 'torhc'\n    Did you mean 'torch'?"),
        (
            lambda: ip.source(NET, dialect="tf", differentiable=True),
            "there is no dialect 'tf'\n    There are: torch, jax.",
        ),
        (
            lambda: ip.source(NET, differentiable=True),
            "numpy does not differentiate functions\n    There are: torch, jax.",
        ),
        (lambda: ip.compile(NET, backend="theano"), "there is no backend 'theano'\n    There are: numpy, torch, jax."),
        (lambda: ip.compile(NET, differentiable=True), "numpy does not differentiate functions"),
        (lambda: ip.compile(NET, backend="jax", reuse_outputs=True), "reuse_outputs: for numpy only\n    Leave it out"),
    ],
)
def test_what_there_is_not(call, message):
    with pytest.raises(NotationError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_tangent_is_not_differentiable():
    with pytest.raises(DerivationError, match="Give the program it came from"):
        ip.source(ip.jvp(NET), dialect="jax", differentiable=True)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_framework_that_is_missing_is_named_with_the_line_to_run(name):
    code = f"""
import sys
sys.modules["{name}"] = None
import indexprop as ip
net = ip.parse("y = w[i] x[i]")
print(len(ip.source(net, dialect="{name}")) > 0)
try:
    ip.compile(net, backend="{name}")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["True", f'backend="{name}" needs {name}: pip install {name}']


def test_the_command(capsys):
    options = ["--layout", "row", "--dialect", "torch", "--differentiable", "--wrt", "W1"]
    assert main(["source", str(ROOT / "examples" / "row_batch.ixp"), *options]) == 0
    net = ip.parse(ROOT / "examples" / "row_batch.ixp")
    expected = ip.source(ip.gradient(net, wrt="W1"), "row", dialect="torch", differentiable=True)
    assert capsys.readouterr().out == expected


if __name__ == "__main__":
    for file, options in FILES.items():
        (GOLDEN / file).write_text(golden(*options), encoding="utf-8")
