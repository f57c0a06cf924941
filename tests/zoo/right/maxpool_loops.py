import numpy as np
x = np.random.randn(2, 3, 4, 6)
N, C, H, W = x.shape
out = np.zeros((N, C, H // 2, W // 2))
for i in range(H // 2):
    for j in range(W // 2):
        out[:, :, i, j] = x[:, :, 2*i:2*i+2, 2*j:2*j+2].max(axis=(2, 3))
t = np.random.randn(*out.shape)
L = 0.5 * np.sum((out - t) ** 2)
dout = out - t
dx = np.zeros_like(x)
for i in range(H // 2):
    for j in range(W // 2):
        win = x[:, :, 2*i:2*i+2, 2*j:2*j+2]
        mask = win == out[:, :, i, j][:, :, None, None]
        dx[:, :, 2*i:2*i+2, 2*j:2*j+2] += mask * dout[:, :, i, j][:, :, None, None]
