import numpy as np
# matrix factorisation with regularisation
n_users, n_items, k = 6, 5, 2
R = np.random.rand(n_users, n_items)
M = (np.random.rand(n_users, n_items) > 0.3).astype(float)
U = np.random.randn(n_users, k)
V = np.random.randn(n_items, k)
lam = 0.1
err = M * (U @ V.T - R)
loss = 0.5 * np.sum(err ** 2) + 0.5 * lam * (np.sum(U ** 2) + np.sum(V ** 2))
dU = err @ V + lam * U
dV = err.T @ U + lam * V
