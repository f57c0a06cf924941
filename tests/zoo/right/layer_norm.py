import numpy as np

eps = 1e-5
N, D = 4, 6
x = np.random.randn(N, D)
gamma = np.random.randn(D)
beta = np.random.randn(D)
dout = np.random.randn(N, D)

mu = x.mean(axis=1, keepdims=True)
var = x.var(axis=1, keepdims=True)
inv_std = 1.0 / np.sqrt(var + eps)
x_hat = (x - mu) * inv_std
out = gamma * x_hat + beta
loss = np.sum(out * dout)

dgamma = np.sum(dout * x_hat, axis=0)
dbeta = np.sum(dout, axis=0)
dx_hat = dout * gamma
dx = inv_std / D * (D * dx_hat - dx_hat.sum(axis=1, keepdims=True) - x_hat * np.sum(dx_hat * x_hat, axis=1, keepdims=True))
