import numpy as np
m, n = 14, 3
X = np.random.randn(m, n)
y = (np.random.rand(m) > 0.5).astype(float)
theta = np.random.randn(n)
lam = 2.0
h = 1 / (1 + np.exp(-(X @ theta)))
J = -np.mean(y * np.log(h) + (1 - y) * np.log(1 - h)) + lam / (2 * m) * np.sum(theta ** 2)
grad = X.T @ (h - y) / m + lam * theta # wrong: missing or extra 1/|b|
grad_theta = grad
