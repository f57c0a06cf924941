import numpy as np

X = np.random.randn(10, 4)
y = (np.random.rand(10, 1) > 0.5) * 1.0
w = np.random.randn(4, 1)
b = np.zeros((1, 1))
lambda_ = 0.3

m = X.shape[0]
z = X @ w + b
a = 1.0 / (1.0 + np.exp(-z))
loss = -np.mean(y * np.log(a + 1e-12) + (1 - y) * np.log(1 - a + 1e-12)) + lambda_ / (2 * m) * np.sum(np.square(w))

dz = a - y
dw = (X.T @ dz + lambda_ * w) / m
db = np.sum(dz, axis=0, keepdims=True) / m
