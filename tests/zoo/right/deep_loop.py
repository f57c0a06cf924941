import numpy as np
layer_dims = [5, 4, 3, 2]
m = 10
X = np.random.randn(5, m)
Y = np.random.randn(2, m)
params = {}
for l in range(1, len(layer_dims)):
    params[f"W{l}"] = np.random.randn(layer_dims[l], layer_dims[l-1]) / np.sqrt(layer_dims[l-1])
    params[f"b{l}"] = np.zeros((layer_dims[l], 1))

A = {0: X}
L = len(layer_dims) - 1
for l in range(1, L + 1):
    Z = params[f"W{l}"] @ A[l-1] + params[f"b{l}"]
    A[l] = np.tanh(Z) if l < L else Z

cost = np.sum((A[L] - Y)**2) / (2*m)

grads = {}
dZ = (A[L] - Y) / m
for l in range(L, 0, -1):
    grads[f"W{l}"] = dZ @ A[l-1].T
    grads[f"b{l}"] = np.sum(dZ, axis=1, keepdims=True)
    if l > 1:
        dA = params[f"W{l}"].T @ dZ
        dZ = dA * (1 - A[l-1]**2)
