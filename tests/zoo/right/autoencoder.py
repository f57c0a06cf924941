import numpy as np
rng = np.random.RandomState(1)
X = rng.rand(12, 7)
We = rng.normal(0, 0.1, (7, 3)); be = np.zeros((1, 3))
Wd = rng.normal(0, 0.1, (3, 7)); bd = np.zeros((1, 7))
lam = 0.001

def f(a): return np.tanh(a)
def fprime(out): return 1. - out**2

code = f(X @ We + be)
recon = X_hat = code @ Wd + bd
N = X.shape[0]
loss = ((X_hat - X)**2).sum() / (2*N) + lam/2 * ((We**2).sum() + (Wd**2).sum())

delta_out = (X_hat - X) / N
grad_Wd = code.T @ delta_out + lam * Wd
grad_bd = delta_out.sum(0, keepdims=True)
delta_hid = delta_out @ Wd.T * fprime(code)
grad_We = X.T @ delta_hid + lam * We
grad_be = delta_hid.sum(0, keepdims=True)
