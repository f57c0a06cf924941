import numpy as np
# attention over a batch of sequences
B, T, d = 2, 4, 3
x = np.random.randn(B, T, d)
Wq = np.random.randn(d, d); Wk = np.random.randn(d, d); Wv = np.random.randn(d, d)
q = x @ Wq; k = x @ Wk; v = x @ Wv
s = q @ k.transpose(0, 2, 1) / np.sqrt(d)
e = np.exp(s - s.max(axis=-1, keepdims=True))
a = e / e.sum(axis=-1, keepdims=True)
o = a @ v
loss = 0.5 * (o ** 2).sum()
do = o
dv = a.transpose(0, 2, 1) @ do
da = do @ v.transpose(0, 2, 1)
ds = a * (da - (da * a).sum(axis=-1, keepdims=True))
dq = ds @ k / np.sqrt(d)
dk = ds.transpose(0, 2, 1) @ q / np.sqrt(d)
dWq = np.einsum("bti,btj->ij", x, dq)
dWk = np.einsum("bti,btj->ij", x, dk)
dWv = np.einsum("bti,btj->ij", x, dv)
