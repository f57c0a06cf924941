import numpy as np
x = np.random.randn(10)
w = np.random.randn(3)
t = np.random.randn(8)
y = np.zeros(8)
for i in range(8):
    y[i] = np.sum(x[i:i+3] * w)
loss = 0.5 * np.sum((y - t)**2)
dy = y - t
dw = np.zeros_like(w)
dx = np.zeros_like(x)
for i in range(8):
    dw += dy[i] * x[i:i+3]
    dx[i:i+3] += dy[i] * w
