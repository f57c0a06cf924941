import numpy as np
B, D = 5, 6
x = np.random.randn(B, D); g = np.random.randn(D); b = np.random.randn(D); dy = np.random.randn(B, D)
mu = x.mean(-1, keepdims=True)
sig = np.sqrt(((x - mu) ** 2).mean(-1, keepdims=True) + 1e-5)
n = (x - mu) / sig
y = n * g + b
loss = (y * dy).sum()
dg = (dy * n).sum(0)
db = dy.sum(0)
dn = dy * g
dx = (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(0, keepdims=True)) / sig # wrong: summed over the wrong indices
