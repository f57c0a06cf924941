import numpy as np
T, d = 5, 3
q = np.random.randn(T, d)
k = np.random.randn(T, d)
v = np.random.randn(T, d)
dout = np.random.randn(T, d)
mask = np.tril(np.ones((T, T)))
scores = q @ k.T / np.sqrt(d)
scores = np.where(mask == 1, scores, -1e9)
w = np.exp(scores - scores.max(axis=1, keepdims=True))
w = w / w.sum(axis=1, keepdims=True)
out = w @ v
loss = np.sum(out * dout)

dv = w.T @ dout
dw = dout @ v.T
dscores = w * (dw - (dw * w).sum(axis=1, keepdims=True))
dscores = np.where(mask == 1, dscores, 0)
dq = dscores @ k / np.sqrt(d)
dk = dscores.T @ q / np.sqrt(d)
