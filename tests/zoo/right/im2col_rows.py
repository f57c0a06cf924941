import numpy as np
def im2col(img, fh, fw):
    h, w = img.shape
    oh, ow = h - fh + 1, w - fw + 1
    col = np.empty((oh * ow, fh * fw))
    r = 0
    for i in range(oh):
        for j in range(ow):
            col[r] = img[i:i + fh, j:j + fw].ravel()
            r += 1
    return col
img = np.random.randn(5, 4)
W = np.random.randn(2 * 3, 2)
b = np.zeros(2)
T = np.random.randn(8, 2)
col = im2col(img, 2, 3)
Z = col @ W + b
A = np.maximum(Z, 0)
L = np.mean((A - T) ** 2)
dA = 2 * (A - T) / A.size
dZ = dA * (Z > 0)
dW = col.T @ dZ
db = dZ.sum(axis=0)
