import numpy as np
def sigmoid(x):
    return 1 / (1 + np.exp(-x))
T, B, D, H = 2, 2, 3, 4
x = np.random.randn(T, B, D)
W = np.random.randn(D + H, 4 * H) * 0.3
b = np.random.randn(4 * H) * 0.1
goal = np.random.randn(B, H)
h, c = np.zeros((B, H)), np.zeros((B, H))
cache = []
for t in range(T):
    z = np.concatenate([x[t], h], axis=1)
    g = z @ W + b
    i = sigmoid(g[:, :H])
    f = sigmoid(g[:, H:2 * H])
    o = sigmoid(g[:, 2 * H:3 * H])
    u = np.tanh(g[:, 3 * H:])
    c_prev = c
    c = f * c_prev + i * u
    h = o * np.tanh(c)
    cache.append((z, i, f, o, u, c_prev, c))
loss = np.sum((h - goal) ** 2) / 2
dW, db = np.zeros_like(W), np.zeros_like(b)
dh, dc = h - goal, np.zeros((B, H))
for t in reversed(range(T)):
    z, i, f, o, u, c_prev, c = cache[t]
    tc = np.tanh(c)
    do = dh * tc
    dc = dc + dh * o * (1 - tc ** 2)
    di, df, du = dc * u, dc * c_prev, dc * i
    dg = np.concatenate([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), du * (1 - u ** 2)], axis=1)
    dW += z.T @ dg
    db += dg.sum(axis=0)
    dz = dg @ W.T
    dh = dz[:, D:]
    dc = dc * f
