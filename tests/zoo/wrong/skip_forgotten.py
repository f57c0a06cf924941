import numpy as np
B, D = 6, 4
x = np.random.randn(B, D)
W1 = np.random.randn(D, D); W2 = np.random.randn(D, D)
t = np.random.randn(B, D)
h = np.maximum(0, x @ W1)
y = x + h @ W2
loss = 0.5 * np.sum((y - t) ** 2) / B
dy = (y - t) / B
dW2 = h.T @ dy
dh = dy @ W2.T
dpre = dh * (h > 0)
dW1 = x.T @ dpre
dx = dpre @ W1.T # wrong: overwritten instead of accumulated
