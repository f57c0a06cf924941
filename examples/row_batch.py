"""A network whose batch has an example in every row, with its numbers: 4 examples, 2-3-1, half the mean squared error.

    python examples/row_batch.py

The network is in row_batch.ixp. It is the same rule and the same lines as in column_batch.py; only the axes lie in
another order, so other operands carry a `.T`: read `H1.T @ dY` here and `dY @ H1.T` there.
"""

from pathlib import Path

import numpy as np

import indexprop as ip

X = np.array([[0.05, 0.10], [0.15, 0.20], [0.25, 0.30], [0.35, 0.40]])  # b i
T = np.array([[0.01], [0.02], [0.03], [0.04]])  # b o
W1 = np.array([[0.15, 0.20, 0.25], [0.30, 0.35, 0.40]])  # i h
b1 = np.array([[0, 0, 0]])  # 1 h, integers: they are promoted to float64
W2 = np.array([[0.45], [0.50], [0.55]])  # h o
b2 = np.array([[0]])  # 1 o
arrays = {"X": X, "T": T, "W1": W1, "b1": b1, "W2": W2, "b2": b2}

net = ip.parse(Path(__file__).with_suffix(".ixp"))
grad = ip.gradient(net, of="L", wrt=["W1", "b1", "W2", "b2"])

print("The backward pass, a row per example and a column per example:\n")
rows, columns = (ip.format(grad, "matrix", layout=layout).splitlines() for layout in ("row", "column"))
for row, column in zip(rows, columns, strict=True):
    print(f"    {row:38}{column}")

step = ip.compile(grad, layout="row")
loss, grads = step(**arrays)
print(f"\nThe loss, and the gradients of the parameters:\n\nL = {loss}")
for name, value in grads.items():
    print(f"d{name} = {np.array2string(value, precision=8, prefix=f'd{name} = ')}")

# The same numbers laid out in columns, through the other program, are the same gradients.
turned = ip.convert(arrays, from_="row", to="column", program=net)
_, turned_grads = ip.compile(grad, layout="column")(**turned)
back = ip.convert(turned_grads, from_="column", to="row", program=net)
worst = max(np.max(np.abs(back[name] - grads[name])) for name in grads)
print(f"\nLaid out in columns, run there, and laid out in rows again: at most {worst:.0e} apart.\n")

report = ip.check(grad, layout="row", **arrays)
print(report)
report.assert_ok()
