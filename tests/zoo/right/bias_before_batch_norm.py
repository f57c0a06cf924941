import numpy as np
x = np.random.randn(6, 3); W = np.random.randn(3, 4); b = np.random.randn(4); t = np.random.randn(6, 4)
z = x @ W + b
m = z.mean(0); s = np.sqrt(z.var(0) + 1e-5)
y = (z - m) / s
loss = np.sum((y - t)**2)
dy = 2 * (y - t)
dz = (dy - dy.mean(0) - y * (dy * y).mean(0)) / s
dW = x.T @ dz
db = dz.sum(0)
