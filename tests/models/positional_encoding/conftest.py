"""Its being here lets the tests beside it import ``small_rig``."""
