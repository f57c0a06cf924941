import numpy as np
N, D = 7, 4
x = 3 * np.random.randn(N, D) + 1
gamma = np.random.randn(D)
beta = np.random.randn(D)
t = np.random.randn(N, D)
eps = 1e-5

mean = x.mean(axis=0)
var = x.var(axis=0)
std = np.sqrt(var + eps)
xhat = (x - mean) / std
out = gamma * xhat + beta
loss = np.sum((out - t)**2)

dout = 2 * (out - t)
dgamma = (dout * xhat).sum(axis=0)
dbeta = dout.sum(axis=0)
dxhat = dout * gamma
dx = (1. / N) / std * (N * dxhat - dxhat.sum(axis=0) - xhat * (dxhat * xhat).sum(axis=0))
