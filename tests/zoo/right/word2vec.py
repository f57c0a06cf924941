import numpy as np
V, d = 9, 4
W_in = np.random.randn(V, d) * 0.1
W_out = np.random.randn(d, V) * 0.1
center = 3
context = 5
h = W_in[center]
u = h @ W_out
p = np.exp(u) / np.exp(u).sum()
loss = -np.log(p[context])
du = p.copy()
du[context] -= 1
dW_out = np.outer(h, du)
dh = W_out @ du
dW_in = np.zeros_like(W_in)
dW_in[center] = dh
