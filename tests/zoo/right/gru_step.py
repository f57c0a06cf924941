import numpy as np
# GRU step
sig = lambda x: 1/(1+np.exp(-x))
n, m, B = 4, 3, 5
x = np.random.randn(m, B); h0 = np.random.randn(n, B)
Wz, Uz = np.random.randn(n, m), np.random.randn(n, n)
Wr, Ur = np.random.randn(n, m), np.random.randn(n, n)
Wh, Uh = np.random.randn(n, m), np.random.randn(n, n)
z = sig(Wz @ x + Uz @ h0)
r = sig(Wr @ x + Ur @ h0)
hh = np.tanh(Wh @ x + Uh @ (r * h0))
h1 = (1 - z) * h0 + z * hh
target = np.random.randn(n, B)
loss = 0.5 * np.sum((h1 - target)**2)
dh1 = h1 - target
dz = dh1 * (hh - h0)
dhh = dh1 * z
da_h = dhh * (1 - hh**2)
dWh = da_h @ x.T
drh = Uh.T @ da_h
dUh = da_h @ (r * h0).T
dr = drh * h0
da_r = dr * r * (1 - r)
dWr = da_r @ x.T
dUr = da_r @ h0.T
da_z = dz * z * (1 - z)
dWz = da_z @ x.T
dUz = da_z @ h0.T
