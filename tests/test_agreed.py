"""Ties, kinks and masks: what is agreed where mathematics leaves a choice, the same in every reading of a program.

Here: the meaning of the text, what numpy runs with and without known sizes, the source to keep, and what an audit
says of code that follows them or others. The frameworks read the same table in `tests/integration/test_agreed.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import indexprop as ip
from indexprop import auditing, codegen, ir
from indexprop.functions import INDEXED, TABLE
from indexprop.semantics import evaluate

INF, NAN = np.inf, np.nan
NOTHING = [[True, False], [False, False]]
Arrays = dict[str, Any]


class Agreed(NamedTuple):
    """A text, arrays, its value there, and its gradients for the cotangent 1, 2, 3, ..."""

    text: str
    given: Arrays
    value: Any
    gradient: Arrays


CASES = {
    "winners of a maximum": Agreed(
        "y[b] = max[k](x[b,k])", {"x": [[3, 1, 3], [2, 2, 2]]}, [3, 2], {"x": [[0.5, 0, 0.5], [2 / 3] * 3]}
    ),
    "winners of a minimum": Agreed(
        "y[b] = min[k](x[b,k])", {"x": [[3, 1, 1], [2, 2, 2]]}, [1, 2], {"x": [[0, 0.5, 0.5], [2 / 3] * 3]}
    ),
    "winners over two indices": Agreed(
        "y = max[i,j](x[i,j])", {"x": [[5, 1], [5, 5]]}, 5, {"x": [[1 / 3, 0], [1 / 3, 1 / 3]]}
    ),
    "winners of windows": Agreed(
        "input x[n]\ny[p] = max[r](x[2*p+r])  where |r| = 2, |p| = |n| // 2",
        {"x": [1, 1, 0, 2]},
        [1, 2],
        {"x": [0.5, 0.5, 0, 2]},
    ),
    "winners of an expression": Agreed("y = max[k](x[k]^2)", {"x": [-3, 3, 1]}, 9, {"x": [-3, 3, 0]}),
    "maximum of equals": Agreed(
        "y[i] = maximum(a[i], b[i])", {"a": [1, 2, 3], "b": [1, 5, 0]}, [1, 5, 3], {"a": [0.5, 0, 3], "b": [0.5, 2, 0]}
    ),
    "minimum of equals": Agreed(
        "y[i] = minimum(a[i], b[i])", {"a": [1, 2, 3], "b": [1, 5, 0]}, [1, 2, 0], {"a": [0.5, 2, 0], "b": [0.5, 0, 3]}
    ),
    "maximum of the same": Agreed("y[i] = maximum(a[i], a[i])", {"a": [1, -2]}, [1, -2], {"a": [1, 2]}),
    "argmax": Agreed("y = argmax[k](x[k])", {"x": [1, 3, 3]}, 1, {"x": [0, 0, 0]}),
    "relu": Agreed("y[i] = relu(x[i])", {"x": [-1, 0, 2]}, [0, 0, 2], {"x": [0, 0, 3]}),
    "leaky relu": Agreed(
        "y[i] = leaky_relu(x[i], a)", {"x": [-4, 0, 2], "a": 0.25}, [-1, 0, 2], {"x": [0.25, 0.5, 3], "a": -4}
    ),
    "elu": Agreed("y[i] = elu(x[i], a)", {"x": [0, 2], "a": 0.5}, [0, 2], {"x": [0.5, 2], "a": 0}),
    "abs": Agreed("y[i] = abs(x[i])", {"x": [-1, 0, 2]}, [1, 0, 2], {"x": [-1, 0, 3]}),
    "sign": Agreed("y[i] = sign(x[i])", {"x": [-1, 0, 2]}, [-1, 0, 1], {"x": [0, 0, 0]}),
    "clip at its bounds": Agreed(
        "y[i] = clip(x[i], a[i], b[i])",
        {"x": [-1, 1, 2], "a": [-1, -1, -1], "b": [1, 1, 1]},
        [-1, 1, 1],
        {"x": [1, 2, 0], "a": [0, 0, 0], "b": [0, 0, 3]},
    ),
    "clip with crossed bounds": Agreed(
        "y[i] = clip(x[i], a[i], b[i])",
        {"x": [-3, 0, 3], "a": [1, 1, 1], "b": [-1, -1, -1]},
        [-1, -1, -1],
        {"x": [0, 0, 0], "a": [0, 0, 0], "b": [1, 2, 3]},
    ),
    "a comparison that holds": Agreed("y[i] = where(x[i] >= 0, x[i], -3 x[i])", {"x": [0, -1]}, [0, 3], {"x": [1, -6]}),
    "a comparison that does not": Agreed(
        "y[i] = where(x[i] > 0, x[i], -3 x[i])", {"x": [0, 1]}, [0, 1], {"x": [-3, 2]}
    ),
    "a branch that is not chosen": Agreed(
        "y[i] = where(x[i] != 0, log(where(x[i] != 0, x[i], 1)), 2 x[i])", {"x": [0, 1]}, [0, 0], {"x": [2, 2]}
    ),
    "what is stopped": Agreed("y[i] = x[i] stop(x[i])", {"x": [3, -5]}, [9, 25], {"x": [3, -10]}),
    "powers at base 0": Agreed(
        "y[i] = x[i]^p[i]", {"x": [0, 0, 0], "p": [0, 1, 2]}, [1, 0, 0], {"x": [0, 2, 0], "p": [0, 0, 0]}
    ),
    "a power of a negative base": Agreed("y = x^p", {"x": -2, "p": 2}, 4, {"x": -4, "p": 0}),
    "norm of nothing": Agreed("y = norm[i](x[i])", {"x": [0, 0]}, 0, {"x": [0, 0]}),
    "sum of absolute values": Agreed("y = norm1[i](x[i])", {"x": [0, -2]}, 2, {"x": [0, -1]}),
    "deviation of a constant": Agreed("y = std[i](x[i])", {"x": [3, 3]}, 0, {"x": [0, 0]}),
    "cosine with nothing": Agreed(
        "y = cosine[i](x[i], z[i])", {"x": [0, 0], "z": [3, 4]}, 0, {"x": [0.6, 0.8], "z": [0, 0]}
    ),
    "zeros in a product": Agreed(
        "y[b] = prod[i](x[b,i])", {"x": [[2, 0, 3], [0, 0, 1]]}, [0, 0], {"x": [[0, 6, 0], [0, 0, 0]]}
    ),
    "softmax beside -inf": Agreed("y[k] = softmax[k](x[k])", {"x": [-INF, 3]}, [0, 1], {"x": [0, 0]}),
    "softmax of what is left out throughout": Agreed(
        "y[i,k] = softmax[k]([m[i,k]] x[i,k])",
        {"x": [[1, NAN], [3, NAN]], "m": NOTHING},
        [[1, 0], [0, 0]],
        {"x": [[0, 0], [0, 0]]},
    ),
    "log_softmax of what is left out throughout": Agreed(
        "y[i,k] = log_softmax[k]([m[i,k]] x[i,k])",
        {"x": [[1, NAN], [3, NAN]], "m": NOTHING},
        [[0, 0], [0, 0]],
        {"x": [[0, 0], [0, 0]]},
    ),
    "logsumexp of what is left out throughout": Agreed(
        "y[i] = logsumexp[k]([m[i,k]] x[i,k])",
        {"x": [[1, NAN], [3, NAN]], "m": NOTHING},
        [1, -INF],
        {"x": [[1, 0], [0, 0]]},
    ),
    "log_softmax beside -inf": Agreed("y[k] = log_softmax[k](x[k])", {"x": [-INF, 0]}, [-INF, 0], {"x": [1, -1]}),
    "logsumexp of -inf": Agreed("y = logsumexp[k](x[k])", {"x": [-INF, -INF]}, -INF, {"x": [0, 0]}),
    "a maximum of nothing": Agreed(
        "y[i] = max[k]([m[i,k]] x[i,k])",
        {"x": [[1, NAN], [3, NAN]], "m": NOTHING},
        [1, -INF],
        {"x": [[1, 0], [0, 0]]},
    ),
    "a minimum of nothing": Agreed(
        "y[i] = min[k]([m[i,k]] x[i,k])", {"x": [[1, NAN], [3, NAN]], "m": NOTHING}, [1, INF], {"x": [[1, 0], [0, 0]]}
    ),
    "a sum with a mask": Agreed(
        "y[i] = sum[k]([m[i,k]] x[i,k]^2)",
        {"x": [[2, NAN], [3, NAN]], "m": NOTHING},
        [4, 0],
        {"x": [[4, 0], [0, 0]]},
    ),
    "a product with a mask": Agreed(
        "y[i] = prod[k]([m[i,k]] x[i,k])", {"x": [[2, NAN], [3, NAN]], "m": NOTHING}, [2, 1], {"x": [[1, 0], [0, 0]]}
    ),
    "a causal sum": Agreed(
        "y[q] = sum[k]([k <= q] x[q,k])", {"x": [[2, NAN], [3, 4]]}, [2, 7], {"x": [[1, 0], [2, 2]]}
    ),
    "what leaves its axis": Agreed("y[i] = x[(i-1)?] + x[i]", {"x": [1, 2, 3]}, [1, 3, 5], {"x": [3, 5, 3]}),
    "a maximum at the edge": Agreed(
        "input x[n]\ny[p] = max[r](x[(p+r-1)?])  where |r| = 2, |p| = |n|",
        {"x": [-2, -2, -5]},
        [-2, -2, -2],
        {"x": [2, 4, 0]},
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def arrays_of(case: Agreed, dtype: str = "float64") -> Arrays:
    return {name: np.array(one, bool if name == "m" else dtype) for name, one in case.given.items()}


def upstream(case: Agreed) -> np.ndarray:
    return 1 + np.arange(np.size(case.value), dtype=float).reshape(np.shape(case.value))


def check(case: Agreed, read: Callable[[ip.Program | ip.Gradient, Arrays], Arrays], dtype: str = "float64") -> None:
    """Value and gradients by one reading: a function of a program and arrays that gives its outputs."""
    program = ip.parse(case.text)
    back = ip.vjp(program, wrt=list(case.gradient))
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(read(program, arrays_of(case, dtype))["y"], case.value, **tolerance)
    known = {**arrays_of(case, dtype), "dy": upstream(case).astype(dtype)}
    found = read(back, {name: known[name] for name in back.program.input_names})
    for name, wanted in case.gradient.items():
        np.testing.assert_allclose(found[name], wanted, **tolerance, err_msg=name)


def test_every_convention_has_a_case() -> None:
    """Every function that the table states one for, and every function that leaves out by a condition."""
    parts = [
        part
        for case in CASES.values()
        for step in ip.parse(case.text).steps
        for term in step.terms
        for part in ir.walk(term.body)
    ]
    used = {part.function for part in parts if isinstance(part, ir.Call | ir.Apply)}
    poles = {"log", "log1p", "sqrt", "tan"}
    plain = {"var", "cumsum", "layer_norm", "rms_norm"}  # what they state is how they are written
    assert {name for name, record in TABLE.items() if record.convention} - poles <= used
    assert {name for name, record in INDEXED.items() if record.convention} - plain <= used
    left_out = {part.function for part in parts if isinstance(part, ir.Apply) and ir.split_guards(part.arguments[0])[0]}
    assert {name for name, record in INDEXED.items() if record.masks} == left_out


@every_case
def test_the_text(case: Agreed) -> None:
    """Of the program, and of the derived program as it prints."""

    def read(what: ip.Program | ip.Gradient, arrays: Arrays) -> Arrays:
        program = what if isinstance(what, ip.Program) else what.program
        tables = evaluate(ip.parse(str(program)), arrays)
        names = {name: name for name in tables} if isinstance(what, ip.Program) else what.values
        return {name: tables[derived].tolist() for name, derived in names.items()}

    check(case, read)


@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("specialise", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_case
def test_what_runs(case: Agreed, dtype: str, specialise: bool, style: str) -> None:
    check(case, lambda what, arrays: ip.compile(what, style=style, specialise=specialise)(**arrays), dtype)


@pytest.mark.parametrize("style", codegen.STYLES)
@every_case
def test_source_to_keep(case: Agreed, style: str) -> None:
    """As somebody runs it who saved it."""

    def read(what: ip.Program | ip.Gradient, arrays: Arrays) -> Arrays:
        scope: Arrays = {}
        exec(ip.source(what, style=style), scope)
        made = scope["forward" if isinstance(what, ip.Program) else "gradient"]
        with np.errstate(all="ignore"):  # what is left out may be computed, where it does not enter
            return made(**arrays)

    check(case, read)


# --- somebody's own code ----------------------------------------------------------------------------------------------

OWN = """
import numpy as np
X = np.array([[1.0, 3.0, 3.0, 0.0], [0.0, -2.0, 0.0, 1.5], [4.0, -1.0, 0.5, 4.0]])
{forward}
L = np.sum(Y**2 + 3 * Y) / 2
dY = Y + 1.5
dX = {backward}
"""
AUDITED = {
    "relu": ("Y = np.maximum(X, 0)", "dY * (X > 0)", ""),
    "relu with another side": ("Y = np.maximum(X, 0)", "dY * (X >= 0)", "is 0"),
    "relu in two halves": ("Y = np.maximum(X, 0)", "dY * (0.5 * (X > 0) + 0.5 * (X >= 0))", "is 0"),
    "abs": ("Y = np.abs(X)", "dY * np.sign(X)", ""),
    "abs with a side": ("Y = np.abs(X)", "np.where(X > 0, dY, -dY)", "is 0"),
    "winners share": (
        "Y = X.max(axis=1, keepdims=True)",
        "(X == Y) * dY / (X == Y).sum(axis=1, keepdims=True)",
        "",
    ),
    "every winner takes all": ("Y = X.max(axis=1, keepdims=True)", "(X == Y) * dY", "has several winners"),
    "every smallest takes all": ("Y = X.min(axis=0, keepdims=True)", "(X == Y) * dY", "has several winners"),
    "a leaky relu": ("Y = np.where(X > 0, X, 0.25 * X)", "np.where(X > 0, dY, 0.25 * dY)", ""),
    "a leaky relu with another side": ("Y = np.where(X > 0, X, 0.25 * X)", "np.where(X >= 0, dY, 0.25 * dY)", "is 0"),
}


@pytest.mark.parametrize(("forward", "backward", "said"), AUDITED.values(), ids=AUDITED)
def test_an_audit(forward: str, backward: str, said: str) -> None:
    """What follows the conventions is right, and what follows others is right with a note; mistakes stay mistakes."""
    report = auditing.audit(OWN.format(forward=forward, backward=backward))
    report.assert_ok()
    verdict = {entry.step.name: entry.verdict for entry in report.entries}["dX"]
    notes = [note for note in report.notes if "convention" in note]
    assert verdict == (auditing.KINK if said else auditing.RIGHT)
    assert (not notes) if not said else (said in notes[0])
    wrong = auditing.audit(OWN.format(forward=forward, backward=f"-2 * {backward}"))
    assert not wrong.ok
