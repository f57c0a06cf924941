import numpy as np
# skip-gram negative sampling, one example
d = 8
v = np.random.randn(d); u_o = np.random.randn(d); U_n = np.random.randn(4, d)
def sigmoid(z): return 1/(1+np.exp(-z))
pos = sigmoid(u_o @ v)
neg = sigmoid(-U_n @ v)
J = -np.log(pos) - np.sum(np.log(neg))
dv = (pos - 1) * u_o + U_n.T @ (1 - neg)
du_o = (pos - 1) * v
dU_n = np.outer(1 - neg, v)
