"""Its being here lets tests in subfolders import the modules beside it."""
