import numpy as np
alpha = 0.1
def lrelu(z): return np.where(z > 0, z, alpha * z)
def dlrelu(z): return np.where(z > 0, 1.0, 0.0)
x = np.random.randn(5, 3); t = np.random.randn(5, 2)
w1 = np.random.randn(3, 4); w2 = np.random.randn(4, 2)
z1 = x @ w1
a1 = lrelu(z1)
o = a1 @ w2
loss = ((o - t) ** 2).mean()
do = 2 * (o - t) / t.size
dw2 = a1.T @ do
dz1 = do @ w2.T * dlrelu(z1) # wrong: derivative of the wrong function
dw1 = x.T @ dz1
