"""Its being here lets tests in this folder import the modules beside it."""
