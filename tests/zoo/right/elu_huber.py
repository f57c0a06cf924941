import numpy as np
X = np.random.randn(9, 5)
t = np.random.randn(9)
W1 = np.random.randn(5, 4); b1 = np.random.randn(4)
w2 = np.random.randn(4); b2 = 0.3
def elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * (np.exp(z) - 1))
def d_elu(z, alpha=1.0):
    return np.where(z > 0, 1.0, alpha * np.exp(z))
z1 = X @ W1 + b1
a1 = elu(z1)
pred = a1 @ w2 + b2
err = pred - t
loss = np.mean(np.where(np.abs(err) < 1, 0.5 * err ** 2, np.abs(err) - 0.5))
dpred = np.clip(err, -1, 1) / len(t)
dw2 = a1.T @ dpred
db2 = dpred.sum()
da1 = np.outer(dpred, w2)
dz1 = da1 * d_elu(z1)
dW1 = X.T @ dz1
db1 = dz1.sum(0)
