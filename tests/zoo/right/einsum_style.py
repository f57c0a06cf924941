import numpy as np

X = np.random.randn(5, 3)
T = np.random.randn(5, 2)
W = np.random.randn(3, 4)
V = np.random.randn(4, 2)

H = np.tanh(np.einsum("bi,ih->bh", X, W))
Y = np.einsum("bh,ho->bo", H, V)
L = 0.5 * np.einsum("bo,bo->", Y - T, Y - T) / len(X)

dY = (Y - T) / len(X)
dV = np.einsum("bh,bo->ho", H, dY)
dH = np.einsum("bo,ho->bh", dY, V)
dW = np.einsum("bi,bh->ih", X, dH * (1 - H ** 2))
