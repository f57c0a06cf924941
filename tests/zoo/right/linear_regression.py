import numpy as np


def compute_loss(X, y, w, b):
    m = len(y)
    predictions = X @ w + b
    return np.sum((predictions - y) ** 2) / (2 * m)


def compute_gradients(X, y, w, b):
    m = X.shape[0]
    error = X @ w + b - y
    dw = X.T @ error / m
    db = np.mean(error)
    return dw, db


rng = np.random.default_rng(0)
X = rng.normal(size=(8, 3))
y = rng.normal(size=8)
w = rng.normal(size=3)
b = 0.5
cost = compute_loss(X, y, w, b)
dw, db = compute_gradients(X, y, w, np.array(b))
