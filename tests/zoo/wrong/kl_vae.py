import numpy as np
B, D, Z = 6, 5, 2
x = np.random.randn(B, D)
eps = np.random.randn(B, Z)
Wm = np.random.randn(D, Z); Ws = np.random.randn(D, Z); Wd = np.random.randn(Z, D)
mu = x @ Wm
logvar = x @ Ws
z = mu + np.exp(0.5 * logvar) * eps
xr = z @ Wd
rec = 0.5 * np.sum((xr - x) ** 2)
kl = -0.5 * np.sum(1 + logvar - mu ** 2 - np.exp(logvar))
loss = rec + kl
dxr = xr - x
dWd = z.T @ dxr
dz = dxr @ Wd.T
dmu = dz + mu
dlogvar = dz * eps * np.exp(0.5 * logvar) + 0.5 * (np.exp(logvar) - 1) # wrong: wrong constant
dWm = x.T @ dmu
dWs = x.T @ dlogvar
