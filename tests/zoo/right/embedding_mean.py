import numpy as np
E = np.random.randn(9, 4)
W = np.random.randn(4, 9)
ctx = np.array([[1, 3, 2], [4, 0, 7], [5, 5, 8]])
target = np.array([2, 6, 1])
h = E[ctx].mean(axis=1)
z = h @ W
z = z - z.max(axis=1, keepdims=True)
p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
loss = -np.log(p[np.arange(3), target]).mean()
dz = p.copy()
dz[np.arange(3), target] -= 1
dz /= len(target)
dW = h.T @ dz
dh = dz @ W.T
dE = np.zeros_like(E)
np.add.at(dE, ctx, np.repeat(dh[:, None, :], 3, axis=1) / 3)
