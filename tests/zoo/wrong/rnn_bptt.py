import numpy as np
T, B, D, H = 4, 3, 2, 5
xs = [np.random.randn(B, D) for t in range(T)]
ts = [np.random.randn(B, H) for t in range(T)]
U = np.random.randn(D, H) * .5
W = np.random.randn(H, H) * .5
b = np.random.randn(H)
h = [np.zeros((B, H))]
loss = 0
for t in range(T):
    h.append(np.tanh(xs[t] @ U + h[t] @ W + b))
    loss = loss + 0.5 * np.sum((h[t + 1] - ts[t]) ** 2)
dU = np.zeros_like(U); dW = np.zeros_like(W); db = np.zeros_like(b)
dhn = np.zeros((B, H))
for t in range(T - 1, -1, -1):
    dh = (h[t + 1] - ts[t]) + dhn
    dz = dh * (1 - h[t] ** 2) # wrong: activation derivative of the wrong layer
    dU += xs[t].T @ dz
    dW += h[t].T @ dz
    db += dz.sum(0)
    dhn = dz @ W.T
