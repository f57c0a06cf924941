import numpy as np
rng = np.random.default_rng()
def softmax(x):
    x = x - np.max(x, axis=1).reshape(-1, 1)
    return np.exp(x) / np.sum(np.exp(x), axis=1).reshape(-1, 1)
X = rng.standard_normal((10, 4))
labels = rng.integers(0, 3, size=10)
Y = np.zeros((10, 3))
Y[np.arange(10), labels] = 1
params = {
    "W": rng.standard_normal((4, 3)),
    "b": np.zeros((1, 3)),
}
def loss_fn(params, X, Y):
    logits = X @ params["W"] + params["b"]
    P = softmax(logits)
    return -(Y * np.log(P)).sum(axis=1).mean(), P
L, P = loss_fn(params, X, Y)
G = (P - Y) / X.shape[0]
grads = {"W": X.T @ G, "b": G.sum(0, keepdims=True)}
