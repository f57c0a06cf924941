import numpy as np
c = np.sqrt(2 / np.pi)
B, D, H = 5, 4, 6
x = np.random.randn(B, D)
W1 = np.random.randn(D, H); b1 = np.random.randn(H)
W2 = np.random.randn(H, D); b2 = np.random.randn(D)
target = np.random.randn(B, D)

z = x @ W1 + b1
inner = c * (z + 0.044715 * z**3)
th = np.tanh(inner)
g = 0.5 * z * (1 + th)
out = x + g @ W2 + b2
loss = np.mean((out - target)**2)

dout = 2 * (out - target) / out.size
dW2 = g.T @ dout
db2 = dout.sum(axis=0)
dg = dout @ W2.T
dz = dg * (0.5 * (1 + th) + 0.5 * z * (1 - th**2) * c * (1 + 3 * 0.044715 * z**2))
dW1 = x.T @ dz
db1 = dz.sum(axis=0)
dx = dout + dz @ W1.T
