"""The torch texts that run: what is computed once, and which lines are one call.

What they compute is tested where torch is, in tests/integration.
"""

import pytest

import indexprop as ip
from indexprop import fused


def lines(text):
    """The lines of a text that run."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("U[i] = exp(x[i]) \n V[k] = exp(x[k]) \n Y[k] = U[k] V[k]", ["U[i] = exp(x[i])", "Y[k] = U[k] U[k]"]),
        ("u = sum[i](x[i]) \n v = sum[k](x[k]) \n Y[i] = x[i] (u - v)", ["u    = x[i]", "Y[i] ="]),
        ("input x[i], w[j] \n A[i,j] = x[i] w[j] \n Y[j,i] = tanh(x[i] w[j])", ["A[i,j]", "Y[j,i] = tanh(A[i,j])"]),
        ("input x[i] \n Z[i] = x[i]^3 \n Z[i] += 1 \n Y[i] = x[i]^3 \n L = Z[i] Y[i]", None),
        (
            "input x[i] \n y = sum[i](exp(x[i])) \n Z[i] = exp(x[i]) \n L = sum[i](Z[i] y)",
            ["Z[i] = exp(x[i])", "y    = Z[i]", "L    ="],
        ),
        ("input x[i], a[i] \n Y[i] = x[i] - a[i] \n Z[i] = x[i] - a[i]", ["Y[i] = x[i] - a[i]", "Z[i] = x[i] - a[i]"]),
        ("input X[i,j] \n A[i,j] = X[i,j] X[j,i] \n B[j,i] = X[i,j]^2 \n Y = A[i,j] B[i,j]", None),
        ("input x[i], y[k] \n A[i] = exp(x[i]) \n B[k] = exp(y[k]) \n Y = sum[i](A[i]) sum[k](B[k])", None),
    ],
)
def test_what_is_computed_once(text, left):
    program = ip.parse(text)
    found = [line for line in str(fused.once(program, program.outputs)).splitlines() if "=" in line]
    given = [line for line in str(program).splitlines() if "=" in line]
    expected = given if left is None else left
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("Y[b,o] = X[b,i] W[i,o] + c[o]", "Y = torch.addmm(c, X, W)  # b o"),
        ("Y[b,o] = X[b,i] W[i,o] + Z[b,j] V[j,o]", "Y = torch.addmm(torch.mm(Z, V), X, W)  # b o"),
        ("Y[b,o] = c[o] - X[b,i] W[i,o]", "Y = c - torch.mm(X, W)  # b o"),
        ("Y[b,o] = X[b,i] W[i,o] + 1", "Y = torch.mm(X, W) + 1  # b o"),
        ("Y[o] = W[o,i] x[i] + c[o]", "Y = W @ x + c  # o"),
        ("Y[b,i] = d[b,i] y[b,i] (1 - y[b,i])", "Y = torch.ops.aten.sigmoid_backward(d, y)  # b i"),
        (
            "Y[b,i] = 2 d[i] y[b,i] (1 - y[b,i]) / w[b]",
            "Y = torch.ops.aten.sigmoid_backward(2 * d / w.unsqueeze(1), y)  # b i",
        ),
        ("Y[i] = y[i] (1 - y[i])", "Y = y * (1 - y)  # i"),
        ("Y[i] = d[i] z[i] (1 - y[i])", "Y = d * z * (1 - y)  # i"),
        ("Y[i] = d[i] (1 - y[i]^2)", "Y = torch.ops.aten.tanh_backward(d, y)  # i"),
        ("Y[i] = where(x[i] > 0, d[i], 0)", "Y = torch.where(x > 0, d, 0)  # i"),
        (
            "Y[b,t,h,d] = X[b,t,e] W[e,h,d]",
            "Y = torch.mm(X.flatten(0, 1), W.flatten(1)).view(n_b, n_t, n_h, n_d)",
        ),
        ("W[e,f] = X[b,t,e] D[b,t,f]", "W = torch.mm(X.flatten(0, 1).T, D.flatten(0, 1)).view(n_e, n_f)  # e f"),
        ("Y[b,t,o] = X[t,e,b] W[o,e]", 'Y = torch.einsum("teb,oe->bto", X, W)  # b t o'),
    ],
)
def test_lines_as_one_call(text, call):
    program = ip.parse(text)
    assert call in lines(fused.source(program))


def test_the_lines_to_read_stand_above():
    program = ip.parse("Z[b,o] = X[b,i] W[i,o]\nY[b,o] = relu(Z[b,o]) c[o]")
    text = fused.source(ip.vjp(program, wrt="W"))
    assert (
        """
    # Z = X @ W
    Z = torch.mm(X, W)  # b o
    # dZ = torch.where(Z > 0, dY * c, 0)
    dZ = torch.ops.aten.threshold_backward(dY * c, Z, 0)  # b o
"""
        in text
    )
