import numpy as np
N, H, W_, k, F = 3, 6, 5, 3, 4
x = np.random.randn(N, H, W_)
w = np.random.randn(F, k * k)
b = np.random.randn(F)
target = np.random.randn(N, F, H - k + 1, W_ - k + 1)
oh, ow = H - k + 1, W_ - k + 1
def im2col(x):
    cols = np.zeros((N, k * k, oh * ow))
    for i in range(k):
        for j in range(k):
            cols[:, i * k + j, :] = x[:, i:i + oh, j:j + ow].reshape(N, oh * ow)
    return cols
cols = im2col(x)
out = np.einsum("fk,nkp->nfp", w, cols) + b[:, None]
out = out.reshape(N, F, oh, ow)
loss = 0.5 * np.sum((out - target) ** 2) / N
dout = (out - target) / N
dflat = dout.reshape(N, F, oh * ow)
dw = np.einsum("nfp,nkp->fk", dflat, cols)
db = dflat.sum(axis=(0, 2))
dcols = np.einsum("fk,nfp->nkp", w, dflat)
dx = np.zeros_like(x)
for i in range(k):
    for j in range(k):
        dx[:, i:i + oh, j:j + ow] += dcols[:, i * k + j, :].reshape(N, oh, ow)
