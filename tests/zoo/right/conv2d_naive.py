import numpy as np
X = np.random.randn(2, 2, 4, 3)
W = np.random.randn(2, 2, 2, 2) * 0.2
b = np.random.randn(2)
N, C, H, Wd = X.shape
F, _, HH, WW = W.shape
Ho, Wo = H - HH + 1, Wd - WW + 1
out = np.zeros((N, F, Ho, Wo))
for n in range(N):
    for f in range(F):
        for i in range(Ho):
            for j in range(Wo):
                out[n, f, i, j] = np.sum(X[n, :, i:i+HH, j:j+WW] * W[f]) + b[f]
dout = np.random.randn(N, F, Ho, Wo)
L = np.sum(out * dout)
dX, dW, db = np.zeros_like(X), np.zeros_like(W), np.zeros_like(b)
for n in range(N):
    for f in range(F):
        db[f] += dout[n, f].sum()
        for i in range(Ho):
            for j in range(Wo):
                dW[f] += X[n, :, i:i+HH, j:j+WW] * dout[n, f, i, j]
                dX[n, :, i:i+HH, j:j+WW] += W[f] * dout[n, f, i, j]
