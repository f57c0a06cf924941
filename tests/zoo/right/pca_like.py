import numpy as np
# linear regression with features normalised inside
X = np.random.randn(25, 3) * [1, 5, 0.3] + 2
y = np.random.randn(25)
mu = X.mean(0)
sd = X.std(0)
Xn = (X - mu) / sd
theta = np.zeros(4)
Xb = np.c_[np.ones(len(Xn)), Xn]
err = Xb @ theta - y
J = (err ** 2).mean() / 2
grad_theta = Xb.T @ err / len(y)
