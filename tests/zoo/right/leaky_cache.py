import numpy as np
def forward(x, w1, b1, w2, b2):
    cache = {}
    cache['z1'] = x @ w1 + b1
    cache['a1'] = np.where(cache['z1'] > 0, cache['z1'], 0.01 * cache['z1'])
    cache['z2'] = cache['a1'] @ w2 + b2
    return cache
def mse(pred, target):
    return ((pred - target) ** 2).mean()
def backward(cache, x, target, w2):
    n, k = target.shape
    d2 = 2 * (cache['z2'] - target) / (n * k)
    grads = {}
    grads['w2'] = cache['a1'].T @ d2
    grads['b2'] = d2.sum(axis=0)
    d1 = (d2 @ w2.T) * np.where(cache['z1'] > 0, 1, 0.01)
    grads['w1'] = x.T @ d1
    grads['b1'] = d1.sum(axis=0)
    return grads
x = np.random.randn(5, 3); t = np.random.randn(5, 2)
w1 = np.random.randn(3, 4); b1 = np.random.randn(4)
w2 = np.random.randn(4, 2); b2 = np.random.randn(2)
cache = forward(x, w1, b1, w2, b2)
loss = mse(cache['z2'], t)
grads = backward(cache, x, t, w2)
