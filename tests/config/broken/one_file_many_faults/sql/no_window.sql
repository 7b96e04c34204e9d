SELECT * FROM credit_application -- :since
