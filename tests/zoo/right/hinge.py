import numpy as np
# SVM hinge, vectorised
X = np.random.randn(8, 5)
W = np.random.randn(5)
y = np.sign(np.random.randn(8))
lam = 0.01
margins = 1 - y * (X @ W)
loss = np.mean(np.maximum(0, margins)) + lam * np.dot(W, W)
mask = (margins > 0).astype(float)
dW = -(X.T @ (mask * y)) / X.shape[0] + 2 * lam * W
