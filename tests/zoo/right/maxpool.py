import numpy as np
x = np.random.randn(2, 6, 6)
w = np.random.randn(3)
t = np.random.randn(2, 3, 3)
xr = x.reshape(2, 3, 2, 3, 2)
pool = xr.max(axis=(2, 4))
loss = 0.5 * np.sum((pool - t) ** 2)
dpool = pool - t
mask = (xr == pool[:, :, None, :, None])
dxr = mask * dpool[:, :, None, :, None]
dx = dxr.reshape(x.shape)
