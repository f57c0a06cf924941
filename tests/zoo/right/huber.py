import numpy as np
# robust regression with a two-layer net
n = 15
x = np.linspace(-1, 1, n).reshape(-1, 1)
y = np.sin(3 * x)
W1 = np.random.randn(1, 8)
b1 = np.random.randn(8)
W2 = np.random.randn(8, 1)
b2 = np.random.randn(1)
delta = 0.5
hidden = np.tanh(x @ W1 + b1)
pred = hidden @ W2 + b2
r = pred - y
loss = np.mean(np.where(np.abs(r) <= delta, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta)))
g_pred = np.where(np.abs(r) <= delta, r, delta * np.sign(r)) / n
g_W2 = hidden.T @ g_pred
g_b2 = g_pred.sum(axis=0)
g_hidden = g_pred @ W2.T
g_pre = g_hidden * (1 - hidden * hidden)
g_W1 = x.T @ g_pre
g_b1 = g_pre.sum(axis=0)
