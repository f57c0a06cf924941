import numpy as np
n = 4
A = np.random.randn(n, n); B = np.random.randn(n, n); x = np.random.randn(n)
u = A @ x
v = np.tanh(u)
w = B @ v
E = 0.5 * w @ w
dw = w
dB = np.outer(dw, v)
dv = B @ dw # wrong: transposed
du = dv * (1 - v ** 2)
dA = np.outer(du, x)
dx = A.T @ du
