import numpy as np
s = lambda a: 1 / (1 + np.exp(-a))
B, I, H = 3, 2, 4
x = np.random.randn(B, I); h = np.random.randn(B, H); G = np.random.randn(B, H)
Wz = np.random.randn(I, H); Uz = np.random.randn(H, H)
Wn = np.random.randn(I, H); Un = np.random.randn(H, H)
z = s(x @ Wz + h @ Uz)
n = np.tanh(x @ Wn + h @ Un)
out = z * h + (1 - z) * n
loss = (out * G).sum()
dout = G
dz = dout * (n - h) # wrong: wrong constant
dn = dout * (1 - z)
dzp = dz * z * (1 - z)
dnp = dn * (1 - n ** 2)
dWz = x.T @ dzp; dUz = h.T @ dzp
dWn = x.T @ dnp; dUn = h.T @ dnp
dh = dout * z + dzp @ Uz.T + dnp @ Un.T
