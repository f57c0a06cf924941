import numpy as np
# VAE like
B, D, H, Z = 4, 6, 5, 2
x = np.random.rand(B, D)
eps = np.random.randn(B, Z)
We, Wm, Wl, Wd = np.random.randn(D,H)*.1, np.random.randn(H,Z)*.1, np.random.randn(H,Z)*.1, np.random.randn(Z,D)*.1
h = np.tanh(x @ We)
mu = h @ Wm
logvar = h @ Wl
std = np.exp(0.5 * logvar)
z = mu + std * eps
xr = 1 / (1 + np.exp(-(z @ Wd)))
bce = -np.sum(x * np.log(xr) + (1 - x) * np.log(1 - xr))
kl = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar))
loss = (bce + kl) / B
dlogits = (xr - x) / B
dWd = z.T @ dlogits
dz = dlogits @ Wd.T
dmu = dz + mu / B
dlogvar = dz * eps * 0.5 * std + 0.5 * (np.exp(logvar) - 1) / B
dWm = h.T @ dmu
dWl = h.T @ dlogvar
dh = dmu @ Wm.T + dlogvar @ Wl.T
dpre = dh * (1 - h**2)
dWe = x.T @ dpre
