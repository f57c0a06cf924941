import numpy as np
z = np.random.randn(8, 2)
Wg = np.random.randn(2, 3); bg = np.zeros(3)
Wd = np.random.randn(3, 1); bd = np.zeros(1)
fake = np.tanh(z @ Wg + bg)
score = fake @ Wd + bd
D = 1 / (1 + np.exp(-score))
loss_G = -np.mean(np.log(D))
dscore = (D - 1) / D.shape[0]
dfake = dscore @ Wd.T
dpre = dfake * (1 - fake ** 2)
dWg = z.T @ dpre
dbg = np.sum(dpre, axis=0)
