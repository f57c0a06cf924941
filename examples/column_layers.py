"""The network of column_batch.py from imported layers: what each layer does backwards, and a few steps of training.

python examples/column_layers.py
"""

import numpy as np

import indexprop as ip
from indexprop.layers import Linear, Sequential, Sigmoid, SquaredLoss

net = Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> g"), Sigmoid(), Linear("g -> o"), SquaredLoss())
print(net)  # forward and backward, derived

rng = np.random.default_rng(0)
params = net.init(rng, i=3, h=4, g=4, o=2, layout="column")
X = rng.normal(size=(3, 5))  # i b
T = rng.normal(size=(2, 5))  # o b

print("\nTraining on 5 random examples:")
for step in range(201):
    loss, saved = net.forward(params, X, T=T, layout="column")
    _, grads = net.backward(params, saved, layout="column")
    if step % 50 == 0:
        print(f"    step {step:3}  L = {loss:.6f}")
    params = {name: params[name] - 0.5 * grads[name] for name in params}

# The layers are a program, and that is what is checked.
report = ip.check(ip.gradient(net.program(), wrt=list(params)), layout="column", X=X, T=T, **params)
print(f"\n{report}")
report.assert_ok()
