import numpy as np

def bn_forward(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, axis=0)
    xmu = x - mu
    var = np.mean(xmu ** 2, axis=0)
    ivar = 1 / np.sqrt(var + eps)
    xhat = xmu * ivar
    out = gamma * xhat + beta
    return out, (xhat, gamma, xmu, ivar)

def bn_backward(dout, cache):
    xhat, gamma, xmu, ivar = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dvar = -0.5 * ivar ** 2 * divar # wrong: a factor is missing
    dxmu2 = 2 * xmu * dvar / N
    dx1 = dxmu1 + dxmu2
    dmu = -np.sum(dx1, axis=0)
    dx = dx1 + dmu / N
    return dx, dgamma, dbeta

x = np.random.randn(8, 3)
gamma = np.random.randn(3)
beta = np.random.randn(3)
target = np.random.randn(8, 3)
out, cache = bn_forward(x, gamma, beta)
loss = np.sum((out - target) ** 2) / 2
dx, dgamma, dbeta = bn_backward(out - target, cache)
