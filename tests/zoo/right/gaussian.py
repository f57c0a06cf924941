import numpy as np
# gaussian log likelihood with learned log sigma
x = np.random.randn(7)
mu = 0.3
log_s = -0.2
s = np.exp(log_s)
loss = np.mean(0.5 * ((x - mu) / s) ** 2 + log_s)
d_mu = np.mean(-(x - mu) / s ** 2)
d_log_s = np.mean(1 - ((x - mu) / s) ** 2)
