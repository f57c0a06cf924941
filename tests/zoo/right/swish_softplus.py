import numpy as np
# elu, swish, softplus
def swish(x): return x / (1 + np.exp(-x))
def dswish(x):
    s = 1 / (1 + np.exp(-x))
    return s + x * s * (1 - s)
x = np.random.randn(4, 3); W = np.random.randn(3, 2); V = np.random.randn(2, 2); t = np.random.randn(4, 2)
z = x @ W
a = swish(z)
q = a @ V
p = np.log(1 + np.exp(q))
loss = np.abs(p - t).sum() / 4
dp = np.sign(p - t) / 4
dq = dp * (1 / (1 + np.exp(-q)))
dV = a.T @ dq
dz = dq @ V.T * dswish(z)
dW = x.T @ dz
