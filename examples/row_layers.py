"""The network of row_batch.py from imported layers, one after the other by hand: a row per example.

python examples/row_layers.py
"""

import numpy as np

import indexprop as ip
from indexprop.layers import Linear, Sequential, Sigmoid, SquaredLoss

X = np.array([[0.05, 0.10], [0.15, 0.20], [0.25, 0.30], [0.35, 0.40]])  # b i
T = np.array([[0.01], [0.02], [0.03], [0.04]])  # b o
params = {
    "W1": np.array([[0.15, 0.20, 0.25], [0.30, 0.35, 0.40]]),  # i h
    "b1": np.array([[0, 0, 0]]),  # 1 h
    "W2": np.array([[0.45], [0.50], [0.55]]),  # h o
    "b2": np.array([[0]]),  # 1 o
}

net = Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> o"), SquaredLoss())
loss, saved = net.forward(params, X, T=T, layout="row")
_, grads = net.backward(params, saved, layout="row")

print(f"The whole network at once: L = {loss}\n")
for name, value in grads.items():
    print(f"d{name} = {np.array2string(value, precision=8, prefix=f'd{name} = ')}")

# Every layer also runs alone; what comes out of one goes into the next, forwards and then backwards.
first, squash, second, error = Linear("i -> h"), Sigmoid(), Linear("h -> o"), SquaredLoss()
one, two = ({"W": params[f"W{k}"], "b": params[f"b{k}"]} for k in (1, 2))
Z1, seen_first = first.forward(one, X, layout="row")
H1, seen_squash = squash.forward({}, Z1, layout="row")
Y, seen_second = second.forward(two, H1, layout="row")
L, seen_error = error.forward({}, Y, T=T, layout="row")

dY, _ = error.backward({}, seen_error, layout="row")
dH1, d_two = second.backward(two, seen_second, dY, layout="row")
dZ1, _ = squash.backward({}, seen_squash, dH1, layout="row")
dX, d_one = first.backward(one, seen_first, dZ1, layout="row")

alone = {"W1": d_one["W"], "b1": d_one["b"], "W2": d_two["W"], "b2": d_two["b"]}
worst = max(np.max(np.abs(alone[name] - grads[name])) for name in grads)
print(f"\nLayer by layer: L = {L}, gradients at most {worst:.0e} apart\n")
print(second)

report = ip.check(ip.gradient(net.program(), wrt=list(params)), layout="row", X=X, T=T, **params)
print(f"\n{report}")
report.assert_ok()
