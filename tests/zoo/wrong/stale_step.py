import numpy as np
np.random.seed(1)
X, y = np.random.randn(8, 3), np.random.randn(8, 1)
W1, W2, lr = np.random.randn(3, 5), np.random.randn(5, 1), 0.05
for epoch in range(2):
    h = np.maximum(X @ W1, 0)
    out = h @ W2
    loss = 0.5 * np.sum((out - y) ** 2)
    error = out - y
    W2 -= lr * h.T @ error
    hidden_error = error @ W2.T # wrong: stale value
    W1 -= lr * X.T @ (hidden_error * (h > 0))
