import numpy as np
# RMSNorm + residual
N, D = 3, 4
x = np.random.randn(N, D); g = np.random.randn(D); W = np.random.randn(D, D); t = np.random.randn(N, D)
ms = np.mean(x**2, axis=-1, keepdims=True)
r = 1 / np.sqrt(ms + 1e-6)
n = x * r * g
y = x + n @ W
loss = 0.5 * np.mean(np.sum((y - t)**2, axis=1))
dy = (y - t) / N
dn = dy @ W.T
dW = n.T @ dy
dg = np.sum(dn * x * r, axis=0)
dxr = dn * g
dx = dy + r * dxr - x * r**3 * np.sum(dxr * x, axis=-1, keepdims=True) / D
