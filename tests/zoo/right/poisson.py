import numpy as np
# poisson regression
X = np.random.randn(9, 3)
y = np.random.poisson(2, 9)
beta = np.zeros(3)
mu = np.exp(X @ beta)
nll = np.sum(mu - y * np.log(mu))
grad_beta = X.T @ (mu - y)
