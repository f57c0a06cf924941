import numpy as np

def affine_forward(x, w, b):
    out = x.dot(w) + b
    cache = (x, w, b)
    return out, cache

def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T)
    dw = x.T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db

def relu_forward(x):
    return np.maximum(0, x), x

def relu_backward(dout, cache):
    x = cache
    dx = dout * (x > 0)
    return dx

def l2_loss(scores, target):
    diff = scores - target
    loss = 0.5 * np.sum(diff * diff) / scores.shape[0]
    dscores = diff / scores.shape[0]
    return loss, dscores

x = np.random.randn(6, 4)
t = np.random.randn(6, 2)
w1, b1 = np.random.randn(4, 5), np.random.randn(5)
w2, b2 = np.random.randn(5, 2), np.random.randn(2)
a1, cache1 = affine_forward(x, w1, b1)
r1, cache2 = relu_forward(a1)
scores, cache3 = affine_forward(r1, w2, b2)
loss, dscores = l2_loss(scores, t)
dr1, dw2, db2 = affine_backward(dscores, cache3)
da1 = relu_backward(dr1, cache2)
dx, dw1, db1 = affine_backward(da1, cache1)
