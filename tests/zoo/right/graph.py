import numpy as np
A = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=float)
D = np.diag(1 / np.sqrt(A.sum(1)))
Ah = D @ A @ D
X = np.random.randn(4, 5)
W0, W1 = np.random.randn(5, 6), np.random.randn(6, 2)
T = np.random.randn(4, 2)
Z0 = Ah @ X @ W0
H = np.maximum(Z0, 0)
Z1 = Ah @ H @ W1
L = 0.5 * np.sum((Z1 - T) ** 2)
dZ1 = Z1 - T
dW1 = (Ah @ H).T @ dZ1
dH = Ah @ dZ1 @ W1.T
dZ0 = dH * (Z0 > 0)
dW0 = (Ah @ X).T @ dZ0
